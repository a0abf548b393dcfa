"""The two thresholds of a contract: the lower for sensitivity, the upper for specificity, on stressed validation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline import outcomes
from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap, calibration, metrics, operating, run_metrics
from pipeline.evaluation.bootstrap import Bools, Floats, Sample
from pipeline.evaluation.calibration import Recalibration
from pipeline.evaluation.predictions import Predictions
from pipeline.labels import EVALUATED
from pipeline.settings import Evaluate

Point = Literal["sensitive", "specific"]
FIXED_ON = "stressed validation patients"
HAIR = 1e-6  # below the image's own score, so that another processor's rounding does not drop that image


@dataclass(frozen=True)
class _Images:
    """Labels and scores of some images, and the resamples of their patients."""

    labels: Bools
    scores: Floats
    sample: Sample


def fix(
    run: Predictions, samples: run_metrics.Samples, recalibration: Recalibration, options: Evaluate
) -> dict[Point, float]:
    """The score of each point: `sensitive`, the highest that is sensitive enough; `specific`, the lowest specific enough.

    Enough is a one-sided 95 % bound by patient over all stressed copies of the validation images together.

    Raises:
        ProjectError: no score is sensitive, or specific, enough.
    """
    stressed = _stressed(run, samples, recalibration)
    fixed = {
        "sensitive": operating.sensitive(stressed.labels, stressed.scores, stressed.sample, options.sensitive),
        "specific": operating.specific(stressed.labels, stressed.scores, stressed.sample, options.specific),
    }
    points: dict[Point, float] = {}
    for point, score in fixed.items():
        if score is None:
            raise ProjectError(f"no threshold of run {run.name} is {point} enough on {FIXED_ON}; it cannot be packaged")
        points[point] = score * (1 - HAIR)  # type: ignore[index]
    return points


def logits(points: Mapping[Point, float], recalibration: Recalibration) -> dict[str, float]:
    """The points on the run's own logit, as `run_metrics.measure` reads them."""
    return {
        point: (calibration.logit(score) - recalibration.intercept) / recalibration.slope
        for point, score in points.items()
    }


def for_contract(
    points: Mapping[Point, float],
    run: Predictions,
    samples: run_metrics.Samples,
    recalibration: Recalibration,
    options: Evaluate,
) -> dict[str, Any]:
    """The part `thresholds` of a contract: both in order, and both criteria at both."""
    targets: dict[Point, float] = {"sensitive": options.sensitive, "specific": options.specific}
    stressed = _stressed(run, samples, recalibration)
    ordered = sorted(points.items(), key=lambda pair: pair[1])
    crossed = points["specific"] < points["sensitive"]
    told: dict[str, Any] = {
        name: {
            "score": score,
            "criterion": criterion(point, targets[point]),
            "bounds": _bounds(stressed, score),
        }
        for name, (point, score) in zip(("lower", "upper"), ordered, strict=True)
    }
    told |= {"crossed": crossed, "order": _order(crossed, told, targets)}
    return told


def indeterminate(
    points: Mapping[Point, float], run: Predictions, samples: run_metrics.Samples, recalibration: Recalibration
) -> dict[str, dict[str, float]]:
    """The share of images between the thresholds, with its interval by patient: on validation, under stress, on test."""
    parts = {"stress": _stressed(run, samples, recalibration)}
    for name in EVALUATED:
        split = getattr(run, name)
        parts[name] = _Images(split.labels, _scores(split.logits, recalibration), getattr(samples, name))
    return {name: _share_between(images, *sorted(points.values())) for name, images in parts.items()}


def criterion(point: Point, target: float) -> str:
    """What a point is fixed by, in words."""
    return f"one-sided 95 % bound of {outcomes.MEASURED[point]} at least {target:g} on {FIXED_ON}"


def _order(crossed: bool, told: Mapping[str, Any], targets: Mapping[Point, float]) -> str:
    """What the order of the two thresholds says."""
    if not crossed:
        return "The lower threshold was fixed for sensitivity, the upper one for specificity."
    kept = all(
        told[name]["bounds"][outcomes.MEASURED[point]] >= target
        for name in ("lower", "upper")
        for point, target in targets.items()
    )
    met = "both criteria hold at both" if kept else "the criteria do not both hold at both"
    return f"The threshold for specificity lies below the one for sensitivity; they are in order of score, and {met}."


def _stressed(run: Predictions, samples: run_metrics.Samples, recalibration: Recalibration) -> _Images:
    logits, labels, sample = run_metrics.stressed(run, samples)
    return _Images(labels, _scores(logits, recalibration), sample)


def _scores(logits: Floats, recalibration: Recalibration) -> Floats:
    return calibration.sigmoid(recalibration(logits))


def _bounds(images: _Images, score: float) -> dict[str, float]:
    """One-sided 95 % bounds of sensitivity and specificity at a score."""
    decided = metrics.decisions(images.labels, images.scores, images.sample, score)
    return {name: round(bootstrap.lower_bound(decided[name]), 5) for name in outcomes.MEASURED.values()}


def _share_between(images: _Images, low: float, high: float) -> dict[str, float]:
    """The share of images between the thresholds, with its interval by patient."""
    between = ((images.scores >= low) & (images.scores < high)).astype(np.float64)
    estimate = zip(("value", "low", "high"), bootstrap.mean(between, images.sample), strict=True)
    return {key: round(number, 5) for key, number in estimate}
