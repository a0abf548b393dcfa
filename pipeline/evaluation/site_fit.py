"""A site's own reading of a network's score: recalibration and two thresholds, and what they are worth out of fold.

The slope is fitted from `SLOPE_PATIENTS` of each class on, the intercept alone below. Both limits come from a simulation with
nothing to correct (classes that the score ranks with an AUC of 0.9): from 30 patients of each class on an intercept costs at
most 0.016 nats of log loss in 95 of 100 sites, from 50 on a slope beside it costs less than 0.01 on average.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap, calibration, cross_fitting, metrics
from pipeline.evaluation.bootstrap import Bools, Floats, Sample
from pipeline.evaluation.calibration import Recalibration
from pipeline.evaluation.predictions import Split

MIN_PATIENTS = 30  # of each class
SLOPE_PATIENTS = 50
FOLDS = 10
HAIR = 1e-4  # logits beside the image that fixes a threshold, as far as another processor may round otherwise
HALF_WIDTH = 0.05  # of the 95 % interval of sensitivity and of specificity that a precise profile has


@dataclass(frozen=True)
class Asked:
    """The sensitivity and the specificity that the site asks for, each inside (0, 1)."""

    sensitivity: float
    specificity: float


@dataclass(frozen=True)
class Reading:
    """How to read logits: recalibrated, and two thresholds on the logit as it was; arrays `[images]` where folds differ."""

    recalibrated: Floats
    lower: Floats
    upper: Floats


@dataclass(frozen=True)
class Fit:
    """The recalibration; the highest logit that is `sensitive` enough, the lowest that is `specific` enough."""

    recalibration: Recalibration
    sensitive: float
    specific: float

    @property
    def crossed(self) -> bool:
        """Whether a lower threshold is specific enough than is sensitive enough: both criteria hold between the two."""
        return self.specific < self.sensitive

    def read(self, logits: Floats) -> Reading:
        """The reading of logits `[images]`."""
        lower, upper = sorted((self.sensitive, self.specific))
        return Reading(self.recalibration(logits), np.full(len(logits), lower), np.full(len(logits), upper))


def patients(split: Split) -> tuple[int, int]:
    """How many patients have a normal image, and how many one with pneumonia."""
    normal, ill = (
        {p for p, label in zip(split.patients, split.labels, strict=True) if label == value} for value in (0, 1)
    )
    return len(normal), len(ill)


def needed(asked: Asked) -> int:
    """Patients of each class below which no profile is made: both thresholds must exist in every part of the folds."""
    strictest = max(asked.sensitivity, asked.specificity)
    for_thresholds = (1 / (1 - strictest) - 1) * FOLDS / (FOLDS - 1) + 1
    return max(MIN_PATIENTS, math.ceil(for_thresholds - 1e-9))


def advised(asked: Asked) -> int:
    """Patients of each class from which on a slope is fitted and both rates are known to within `HALF_WIDTH`."""
    spread = max(share * (1 - share) for share in (asked.sensitivity, asked.specificity))
    return max(needed(asked), SLOPE_PATIENTS, math.ceil(1.96**2 * spread / HALF_WIDTH**2))


def fit(split: Split, asked: Asked, with_slope: bool) -> Fit:
    """Fit all images of `split`.

    Raises:
        ProjectError: a threshold cannot be fixed, or the score does not rise with pneumonia.
    """
    ill, normal = np.sort(split.logits[split.labels]), np.sort(split.logits[~split.labels])
    missed, alarmed = _spare(len(ill), asked.sensitivity), _spare(len(normal), asked.specificity)
    if not missed or not alarmed:
        raise ProjectError(f"too few images ({len(normal)} normal, {len(ill)} with pneumonia) for what is asked for")
    recalibration = _recalibrate(split, with_slope)
    if recalibration.slope <= 0:
        raise ProjectError("the score does not rise with pneumonia on these images: no profile can mend that")
    return Fit(recalibration, float(ill[missed - 1]) - HAIR, float(normal[-alarmed]) + HAIR)


def cross_fit(split: Split, asked: Asked, with_slope: bool, seed: int) -> Reading:
    """The reading of each image by what the patients of the other folds gave."""
    fold = cross_fitting.deal(split, FOLDS, seed)
    reading = Reading(*(np.zeros(len(fold)) for _ in range(3)))
    for number in np.unique(fold):
        inside = fold == number
        held_out = fit(_part(split, ~inside), asked, with_slope).read(split.logits[inside])
        for name in ("recalibrated", "lower", "upper"):
            getattr(reading, name)[inside] = getattr(held_out, name)
    return reading


def estimates(labels: Bools, logits: Floats, reading: Reading, sample: Sample) -> dict[str, Floats]:
    """What a reading of `logits` is worth: log loss, Brier score, calibration, rates at both thresholds. Replicates."""
    replicates = metrics.probabilities(labels, reading.recalibrated, sample)
    for name in ("lower", "upper"):
        rates = metrics.decisions(labels, logits - getattr(reading, name), sample, 0.0)
        replicates |= {f"{rate}_at_{name}": rates[rate] for rate in ("sensitivity", "specificity")}
    between = (logits >= reading.lower) & (logits < reading.upper)
    images = sample.totals(np.ones(len(labels)))
    return replicates | {"indeterminate": bootstrap.divide(sample.totals(between), images)}


def prevalence(labels: Bools, patients: Sequence[str], resamples: int, seed: int) -> tuple[float, float, float]:
    """The share of images with pneumonia, and its interval over patients of either class: value, low, high."""
    sample = bootstrap.draw(np.zeros(len(labels), dtype=bool), patients, resamples, seed)
    return bootstrap.mean(labels.astype(np.float64), sample)


def _spare(images: int, share: float) -> int:
    """How many images of a class lie at a threshold or on its wrong side, so that a further one lies on its right side with
    a probability of at least `share` (split conformal prediction: Vovk, Gammerman, Shafer 2005). 0: there are too few.
    """
    return math.floor((1 - share) * (images + 1) + 1e-9)


def _recalibrate(split: Split, with_slope: bool) -> Recalibration:
    fitted = calibration.fit(split.labels, split.logits) if with_slope else None
    if fitted:
        return fitted
    once = Sample(np.ones((1, len(split.labels))), np.arange(len(split.labels)))
    return Recalibration(float(calibration.intercept(split.labels, split.logits, once)[0]), 1.0)


def _part(split: Split, chosen: Bools) -> Split:
    texts = (split.paths, split.subtypes, split.patients)
    paths, subtypes, names = (
        [text for text, is_chosen in zip(column, chosen, strict=True) if is_chosen] for column in texts
    )
    return Split(paths, split.labels[chosen], subtypes, names, split.logits[chosen])
