"""What a client is told when a request is not answered: a status, a word for programs, a sentence for people."""

from collections.abc import Mapping

from starlette.responses import JSONResponse

from pipeline.decoding.errors import UnreadableImage
from pipeline.serving import metrics

TOO_MUCH = ("too_many_pixels", "too_many_frames", "too_much_metadata", "too_costly")
STATUS = {"undecodable": 422, **dict.fromkeys(TOO_MUCH, 413)}  # of an image that is not read; else 415


class Problem(Exception):
    """A request that is refused.

    Args:
        status: HTTP status.
        error: a stable word for programs, such as `too_large`.
        detail: what is wrong and how much, in one sentence, without a byte of the upload.
        headers: of the answer.
        facts: further numbers and words for the answer.
    """

    def __init__(
        self, status: int, error: str, detail: str, headers: Mapping[str, str] | None = None, **facts: float | str
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error
        self.detail = detail
        self.headers = dict(headers or {})
        self.facts = facts

    @classmethod
    def of(cls, refusal: UnreadableImage) -> "Problem":
        """The answer to an upload that the reader refuses."""
        return cls(STATUS.get(refusal.error, 415), refusal.error, refusal.detail, None, **refusal.facts)

    def response(self) -> JSONResponse:
        """The refusal as JSON: `error`, `detail` and the facts."""
        metrics.REFUSALS.labels(self.error).inc()
        headers = self.headers | ({"Retry-After": "1"} if self.status in (429, 503) else {})
        return JSONResponse({"error": self.error, "detail": self.detail, **self.facts}, self.status, headers)
