"""Images as they are."""

KINDS: frozenset[str] = frozenset()
RANGES = None
