"""The three outcomes: their words, the two thresholds between them, and what the score is not."""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pipeline.errors import ProjectError

Outcome = Literal["no pneumonia detected", "indeterminate: the network does not decide", "signs of pneumonia"]
NONE: Outcome = "no pneumonia detected"
INDETERMINATE: Outcome = "indeterminate: the network does not decide"
SIGNS: Outcome = "signs of pneumonia"
CAUTION = "Other abnormalities are not assessed. Every image needs a radiologist's reading."
MEASURED = {"sensitive": "sensitivity", "specific": "specificity"}  # what a point of a 0.1.0 contract was fixed for


class Threshold(NamedTuple):
    """A score, and the criterion that it was fixed by."""

    score: float
    criterion: str


class Thresholds(NamedTuple):
    """Where the outcome changes: `lower.score <= upper.score`."""

    lower: Threshold
    upper: Threshold


def thresholds(contract: Mapping[str, Any]) -> Thresholds:
    """The two thresholds of a contract, in order.

    A contract has `thresholds`: `lower` and `upper`, each with `score` and `criterion`. One of 0.1.0 has `operating_points`
    in their place: `sensitive` and `specific`, each with `threshold` and `bound`, fixed one by one and in either order.

    Raises:
        ProjectError: the contract has neither, a threshold is not a number from 0 to 1, or `lower` lies above `upper`.
    """
    try:
        if "thresholds" in contract:
            limits = [Threshold(_score(each["score"]), str(each["criterion"])) for each in _both(contract)]
        else:
            points = contract["operating_points"]
            limits = [
                Threshold(_score(points[name]["threshold"]), _old_criterion(name, points[name])) for name in MEASURED
            ]
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ProjectError(f"the contract's thresholds cannot be read: {error!r}") from None
    if not all(0 <= each.score <= 1 for each in limits):
        raise ProjectError(f"the contract's thresholds do not lie from 0 to 1: {[each.score for each in limits]}")
    if "thresholds" in contract and limits[0].score > limits[1].score:
        raise ProjectError(f"the contract's thresholds are not in order: {[each.score for each in limits]}")
    return Thresholds(*sorted(limits))


def outcome(score: float, limits: Thresholds) -> Outcome:
    """Which outcome a score has; a score that equals a threshold has reached it."""
    if score >= limits.upper.score:
        return SIGNS
    return INDETERMINATE if score >= limits.lower.score else NONE


def calibration(contract: Mapping[str, Any]) -> str:
    """What the official test set says of the score as a probability, in a sentence or two."""
    name = "calibration_intercept_recalibrated"
    estimate = contract.get("figures", {}).get("test", {}).get(name, {})
    value, low, high = (_number(estimate.get(key)) for key in ("value", "low", "high"))
    if math.isnan(value + low + high):
        return "How well the score is calibrated on the official test set is not known. The score is no patient's risk."
    said = (
        "overestimates"
        if high < 0
        else "underestimates"
        if low > 0
        else "is right on average (no significant difference)"
    )
    return (
        f"On the official test set the score {said}: calibration intercept {value:.2f} (95 % interval {low:.2f} to "
        f"{high:.2f}), where 0 would be right. The score is no patient's risk."
    )


def _both(contract: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [contract["thresholds"][name] for name in ("lower", "upper")]


def _old_criterion(name: str, point: Mapping[str, Any]) -> str:
    fixed_on = point.get("fixed_on", "validation patients")
    return f"one-sided 95 % bound of {MEASURED[name]} at least {point['bound']:g} on {fixed_on}"


def _score(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
