"""Why an image is not read."""

from pipeline.errors import ProjectError


class UnreadableImage(ProjectError):
    """An image that is refused.

    Args:
        error: a stable word for programs: `unsupported_type`, `unsupported_modality`, `colour`, `polyglot`,
            `too_many_pixels`, `too_many_frames`, `too_much_metadata`, `too_costly` or `undecodable`.
        detail: what is wrong and how much, in one sentence, without a byte of the file.
        facts: further numbers.
    """

    def __init__(self, error: str, detail: str, **facts: float) -> None:
        super().__init__(detail)
        self.error = error
        self.detail = detail
        self.facts = facts


class Unbounded(ProjectError):
    """A file that is not decoded here, since its headers do not bound what that costs: not refused, only not here."""


def broken(kind: str, what: str) -> UnreadableImage:
    """A file whose structure does not hold: `what` follows "the <kind> file"."""
    return UnreadableImage("undecodable", f"the {kind} file {what}")
