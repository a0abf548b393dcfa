"""Which images finished retrainings were made from: one name a line in `.work/retrained`, which outlives workspaces."""

from collections.abc import Iterable

from pipeline import paths
from pipeline.files import write_text

FILE = paths.WORKSPACES / "retrained"


def recall() -> set[str]:
    """The names of all images that retrainings on this machine came to their end with."""
    return set(FILE.read_text(encoding="utf-8").splitlines()) if FILE.exists() else set()


def remember(names: Iterable[str]) -> None:
    """Add names; one that is known already changes nothing."""
    write_text(FILE, "".join(f"{name}\n" for name in sorted(recall() | set(names))))
