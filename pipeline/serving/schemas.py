"""What the service answers to one image."""

import base64
import time
from typing import Annotated, Any

from bentoml import IODescriptor
from pydantic import BaseModel, Field
from pydantic_core import core_schema
from starlette.requests import Request

from pipeline import outcomes
from pipeline.inference import Outputs
from pipeline.outcomes import CAUTION, Outcome
from pipeline.serving import metrics, overlay
from pipeline.serving.model import Model

NOTICE = f"Research software, not a medical device. {CAUTION}"
PROBABILITY = (
    "With a site's profile: the probability of pneumonia at that site, recalibrated on its own images. Without one deprecated, "
    "and gone with the next release: it is no patient's risk; read `score`."
)


class _File:
    """The upload's type for BentoML's client and its OpenAPI document: a file."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.any_schema()

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        shape = {"type": "file"} if handler.mode == "validation" else {"type": "string"}
        return {**handler(schema), **shape, "format": "binary"}


class Upload(IODescriptor):
    """The input: the image that `RequestLimits` has read; BentoML would write it into a file named by the client."""

    image: Annotated[bytes, _File()]

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> "Upload":
        return cls(image=request.state.image)


Upload.multipart_fields = ["image"]  # BentoML finds paths alone


class Limits(BaseModel):
    """The scores at which the outcome changes."""

    lower: float = Field(description=f"Below it: {outcomes.NONE}.")
    upper: float = Field(description=f"From it on: {outcomes.SIGNS}. Between the two: {outcomes.INDETERMINATE}.")


class Answer(IODescriptor):
    """The answer to one image."""

    outcome: Outcome = Field(description=CAUTION)
    score: float = Field(
        description="From 0 to 1, to be read against `thresholds`. It is no patient's risk.", ge=0, le=1
    )
    thresholds: Limits
    warnings: list[str] = Field(description="What should make a reader careful with this answer.")
    model_version: str
    milliseconds: float = Field(description="From the last byte of the upload to the answer, inside the service.")
    notice: str = Field(default=NOTICE, description="With a site's profile it says so.")
    profile: str | None = Field(default=None, description="The site's profile that the answer was read by.")
    probability: float = Field(description=PROBABILITY, deprecated=True)
    prevalence: float = Field(description="What `probability` assumes; deprecated as it is.", deprecated=True)


class Map(BaseModel):
    """Evidence for pneumonia over the image."""

    grid: list[list[float]] = Field(description="Rows from top to bottom, in the units of the logit.")
    scale: list[float] = Field(
        description="The values drawn as nothing and as the strongest red, for every image alike."
    )
    overlay: str = Field(description="PNG with transparency, base64; stretch it over the image.")


class Explanation(Answer):
    """The answer to one image, and where in it the evidence lies."""

    map: Map


def at_prevalence(probability: float, assumed: float, wanted: float) -> float:
    """Shift a probability from one prevalence to another, the likelihood ratio staying as it is.

    Source: Bayes' theorem; Saerens, Latinne, Decaestecker, Neural Computation 2002, for outputs of a classifier.
    """
    pneumonia = probability * wanted / assumed
    normal = (1 - probability) * (1 - wanted) / (1 - assumed)
    return pneumonia / (pneumonia + normal)


def answer(model: Model, outputs: Outputs, warnings: list[str], prevalence: float | None, started: float) -> Answer:
    """Put the answer together.

    Args:
        model: the champion that computed the outputs.
        outputs: of one image.
        warnings: what was noticed on the way.
        prevalence: the site's own, or None for the one that the profile's images have, or without a profile the one that the
            network's output assumes; of `probability` alone.
        started: `time.perf_counter()` when the upload was there.
    """
    score, (lower, upper), profile = outputs.probability, model.thresholds, model.profile
    assumed = profile.prevalence if profile else float(model.contract["prevalence"])
    wanted = assumed if prevalence is None else prevalence
    probability = profile.probability(score) if profile else score
    outcome = outcomes.outcome(score, model.thresholds)
    metrics.OUTCOMES.labels(outcome).inc()
    return Answer(
        outcome=outcome,
        score=score,
        thresholds=Limits(lower=lower.score, upper=upper.score),
        warnings=warnings,
        model_version=model.version,
        milliseconds=round(1000 * (time.perf_counter() - started), 2),
        notice=f"{NOTICE} {profile.said}" if profile else NOTICE,
        profile=profile.version if profile else None,
        probability=at_prevalence(probability, assumed, wanted),
        prevalence=wanted,
    )


def explanation(
    model: Model, outputs: Outputs, warnings: list[str], prevalence: float | None, started: float
) -> Explanation:
    """The answer with its map; arguments as for `answer`."""
    low, high = model.contract["map_scale"]
    drawn = base64.b64encode(overlay.png(outputs.map, (low, high))).decode()
    grid = [[round(float(value), 4) for value in row] for row in outputs.map]
    plain = answer(model, outputs, warnings, prevalence, started)
    return Explanation(**plain.model_dump(), map=Map(grid=grid, scale=[low, high], overlay=drawn))
