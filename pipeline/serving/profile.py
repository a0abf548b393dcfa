"""A site's own profile, models/profiles/<name>.json: how its images want the score of one champion read."""

import hashlib
import json
import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.files import read_json, write_json
from pipeline.outcomes import Threshold, Thresholds
from pipeline.schema import Section, parse

FORMAT: Literal[1] = 1
ALMOST = 1e-7  # scores are held inside (0, 1), where they have a logit

Score = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=0)]


class Recalibration(Section):
    """The logit of the probability is `intercept + slope * logit of the score`."""

    intercept: float
    slope: float = Field(gt=0)


class Limit(Section):
    """A score at which the outcome changes, and what it was fixed by."""

    score: Score
    criterion: str


class Limits(Section):
    """Both, in order."""

    lower: Limit
    upper: Limit

    @model_validator(mode="after")
    def _expect_order(self) -> Self:
        if self.lower.score > self.upper.score:
            raise ValueError(f"the lower threshold {self.lower.score} lies above the upper one {self.upper.score}")
        return self


class Tenths(Section):
    """The profile's own scores, for `drift`: nine edges between their tenths, and how many lie in each."""

    edges: Annotated[list[Score], Field(min_length=9, max_length=9)]
    counts: Annotated[list[Count], Field(min_length=10, max_length=10)]


class Profile(Section):
    """What was fitted on a site's labelled images, for one champion alone.

    `report` holds what was measured: before, after, their difference, rejections, how many patients there were and should be.
    `digest` is of all the rest.
    """

    format: Literal[1]
    name: str
    champion: str
    images: Count
    patients: dict[Literal["normal", "pneumonia"], Count]
    recalibration: Recalibration
    thresholds: Limits
    prevalence: Share
    scores: Tenths
    report: dict[str, Any]
    digest: str

    @property
    def version(self) -> str:
        """The name and eight digits of the digest."""
        return f"{self.name}-{self.digest[:8]}"

    @property
    def limits(self) -> Thresholds:
        """The thresholds on the score."""
        return Thresholds(
            *(Threshold(each.score, each.criterion) for each in (self.thresholds.lower, self.thresholds.upper))
        )

    @property
    def said(self) -> str:
        """What every answer says of it."""
        normal, ill = (self.patients[name] for name in ("normal", "pneumonia"))
        return (
            f"Thresholds and probability by the site profile {self.version}, fitted on {self.images} images "
            f"({normal} patients without and {ill} with pneumonia)."
        )

    def probability(self, score: float) -> float:
        """The probability of pneumonia at this site, where `prevalence` of the images show it."""
        held = min(max(score, ALMOST), 1 - ALMOST)
        logit = self.recalibration.intercept + self.recalibration.slope * math.log(held / (1 - held))
        return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))

    def expect(self, champion: str) -> None:
        """Check that it was fitted on this champion.

        Raises:
            ProjectError: it was fitted on another one.
        """
        if champion != self.champion:
            raise ProjectError(
                f"the site profile {self.name} was fitted on champion {self.champion}, not on {champion}: make it anew "
                "(make site-profile), or serve without it"
            )


def read(name: str) -> Profile:
    """The profile of that name.

    Raises:
        ProjectError: there is none, it is no profile, or it was changed since it was made.
    """
    path = paths.PROFILES / f"{name}.json"
    where = path.relative_to(paths.ROOT)
    content = read_json(path, "`make site-profile` makes it of labelled images")
    profile = parse(Profile, content, "", str(where))
    if profile.name != name or profile.digest != _digest(content):
        raise ProjectError(f"{where} was changed since it was made; make it anew (make site-profile)")
    return profile


def write(content: dict[str, Any]) -> Profile:
    """Write a profile, all of it but `format` and `digest`, under its name.

    Raises:
        ProjectError: it is no profile.
    """
    document = {"format": FORMAT, **content}
    document["digest"] = _digest(document)
    profile = parse(Profile, document, "", "site profile")
    write_json(paths.PROFILES / f"{profile.name}.json", document)
    return profile


def _digest(content: dict[str, Any]) -> str:
    rest = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
