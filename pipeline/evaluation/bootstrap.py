"""Chance: the bootstrap by patient within class, and the statistics that need an image's rank.

Every metric is computed for the sample itself and for all resamples at once: an array `[1 + resamples]` (called
replicates here) whose first number is the metric and whose others say how it would vary with other patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVEL = 0.95


@dataclass(frozen=True)
class Sample:
    """Images with the weight that each resample gives their patient.

    `weights` float64 `[1 + resamples, patients]`: how often a patient was drawn, ones in the first row.
    `patient` int `[images]`: the column of each image's patient.
    """

    weights: Floats
    patient: NDArray[np.intp]

    def totals(self, values: NDArray[np.generic]) -> Floats:
        """Weighted sum of `values` (`[images]` or `[images, k]`) in every resample: `[1 + resamples(, k)]`."""
        by_patient = np.zeros((self.weights.shape[1], *values.shape[1:]))
        np.add.at(by_patient, self.patient, values.astype(np.float64))
        return self.weights @ by_patient

    @cached_property
    def of_images(self) -> NDArray[np.float32]:
        """The weight of each image, float32 `[1 + resamples, images]`."""
        return self.weights.astype(np.float32)[:, self.patient]

    def take(self, rows: NDArray[np.generic]) -> "Sample":
        """The same resamples, seen through some of the images (a mask or row numbers, repeats allowed)."""
        return Sample(self.weights, self.patient[rows])


def draw(labels: Bools, patients: Sequence[str], resamples: int, seed: int) -> Sample:
    """Draw patients with replacement, each class by itself, as many as there are.

    Images of one patient come and go together, so that nine radiographs of one child do not count as nine children
    (the cluster bootstrap, Field and Welsh 2007). Two runs on the same images with the same seed get the same
    resamples: their difference is paired. The order of the images does not matter.
    """
    keys = sorted({(bool(label), patient) for label, patient in zip(labels, patients, strict=True)})
    column = {key: place for place, key in enumerate(keys)}
    patient = np.array([column[bool(label), name] for label, name in zip(labels, patients, strict=True)], dtype=np.intp)
    normal = sum(not label for label, _ in keys)
    rng = np.random.default_rng(seed)
    blocks = [
        rng.multinomial(size, np.full(size, 1 / size), size=resamples) if size else np.zeros((resamples, 0))
        for size in (normal, len(keys) - normal)
    ]
    drawn = np.concatenate(blocks, axis=1).astype(np.float64)
    return Sample(np.concatenate([np.ones((1, len(keys))), drawn]), patient)


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """`numerator / denominator`, NaN (undefined) where the denominator is 0."""
    result = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)


def interval(replicates: Floats, level: float = LEVEL) -> tuple[float, float, float]:
    """The metric and its percentile interval: value, low, high; NaN where undefined.

    A resample in which the metric is undefined counts as the worst there is on either side, so that leaving it out
    cannot make the interval narrower.
    """
    tail = (1 - level) / 2
    low, high = lower_bound(replicates, 1 - tail), upper_bound(replicates, 1 - tail)
    value = float(replicates[0])
    return (value, low, high) if np.isfinite(value) else (np.nan, np.nan, np.nan)


def mean(values: Floats, sample: Sample) -> tuple[float, float, float]:
    """Mean over images with its interval by patient: value, low, high."""
    return interval(divide(sample.totals(values), sample.totals(np.ones(len(values)))))


def lower_bound(replicates: Floats, level: float = LEVEL) -> float:
    """One-sided bound: `level` of the resamples lie above it. NaN where undefined."""
    bound = _quantile(np.where(np.isnan(replicates[1:]), -np.inf, replicates[1:]), 1 - level)
    return bound if np.isfinite(bound) else np.nan


def upper_bound(replicates: Floats, level: float = LEVEL) -> float:
    """One-sided bound: `level` of the resamples lie below it. NaN where undefined."""
    return -lower_bound(-replicates, level)


def _quantile(values: Floats, share: float) -> float:
    """`np.quantile` that allows infinite values."""
    ordered = np.sort(values)
    place = share * (len(ordered) - 1)
    below, above = ordered[int(np.floor(place))], ordered[int(np.ceil(place))]
    return float(below if below == above else below + (above - below) * (place % 1))


def standard_error(replicates: Floats) -> float:
    """The bootstrap's standard error: the standard deviation over the resamples."""
    return float(np.std(replicates[1:], ddof=1))


def p_value(differences: Floats) -> float:
    """Two-sided p of "no difference": the level at which the percentile interval just touches 0. NaN if undefined."""
    drawn = differences[1:]
    if not np.isfinite(differences[0]) or np.isnan(drawn).any():
        return np.nan
    side = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    return float(min(1.0, 2 * (side + 1) / (len(drawn) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjustment; a NaN stays NaN and counts as no test."""
    known = [place for place, p in enumerate(p_values) if not np.isnan(p)]
    adjusted = [float("nan")] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(known, key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(known) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def wilson(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's (1927) interval of a share; for published counts, whose patients are unknown. NaN without trials."""
    if trials == 0:
        return np.nan, np.nan
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def auc(labels: Bools, scores: Floats, sample: Sample) -> Floats:
    """Area under the ROC curve, ties counting half: replicates, NaN where a class is missing.

    The area is a mean over pairs of a positive and a negative image (Mann-Whitney), so it is linear in the weights
    of either class: the pairs are summed up to pairs of patients once, and all resamples are one matrix product.
    """
    positive, positive_ids = _by_patient(scores, sample.patient, labels)
    negative, negative_ids = _by_patient(scores, sample.patient, ~labels)
    if not len(positive) or not len(negative):
        return np.full(len(sample.weights), np.nan)
    # How many images of each negative patient lie below each place in the order of all negatives, float32 (exact counts).
    order = np.argsort(negative, kind="stable")
    owner = np.repeat(np.arange(len(negative_ids[0])), negative_ids[2])[order]
    below = np.zeros((len(negative) + 1, len(negative_ids[0])), np.float32)
    below[np.arange(1, len(negative) + 1), owner] = 1
    np.cumsum(below, axis=0, out=below)
    won = sum(below[negative[order].searchsorted(positive, side)] for side in ("left", "right")) / 2
    won = np.add.reduceat(won, positive_ids[1], axis=0, dtype=np.float64)
    for_positive, for_negative = sample.weights[:, positive_ids[0]], sample.weights[:, negative_ids[0]]
    pairs_total = (for_positive @ positive_ids[2]) * (for_negative @ negative_ids[2])
    return divide(((for_positive @ won) * for_negative).sum(axis=1), pairs_total)


def _by_patient(
    scores: Floats, patient: NDArray[np.intp], chosen: Bools
) -> tuple[Floats, tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]]:
    """Scores of the chosen images in patient order; the patients, where each begins, and how many images it has."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(patient[rows], kind="stable")]
    return scores[rows], np.unique(patient[rows], return_index=True, return_counts=True)


def roc(labels: Bools, scores: Floats, sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.float32], Floats]:
    """False and true positive rates, float32 `[1 + resamples, thresholds + 1]`, and the thresholds, falling.

    An image is called positive where its score is at least the threshold; the first column is "none".
    """
    order = np.argsort(-scores, kind="stable")
    thresholds, starts = np.unique(-scores[order], return_index=True)
    weights = sample.of_images[:, order]
    rates = []
    for chosen in (~labels[order], labels[order]):
        passed = np.cumsum(np.add.reduceat(weights * chosen, starts, axis=1), axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = passed / passed[:, -1:]
        rates.append(np.concatenate([np.zeros((len(share), 1), np.float32), share], axis=1))
    return rates[0], rates[1], -thresholds


def sensitivity_at_specificity(fpr: NDArray[np.float32], tpr: NDArray[np.float32], specificity: float) -> Floats:
    """The highest sensitivity on the ROC curve among thresholds of at least this specificity: replicates."""
    # Rates are float32 ratios of counts: 1e-6 is far below one image and above their rounding.
    reached = np.where(fpr <= 1 - specificity + 1e-6, tpr, -np.inf).max(axis=1)
    return np.where(np.isnan(fpr).any(axis=1) | np.isnan(tpr).any(axis=1), np.nan, reached).astype(np.float64)


def specificity_at_sensitivity(fpr: NDArray[np.float32], tpr: NDArray[np.float32], sensitivity: float) -> Floats:
    """The highest specificity on the ROC curve among thresholds of at least this sensitivity: replicates."""
    reached = np.where(tpr >= sensitivity - 1e-6, 1 - fpr, -np.inf).max(axis=1)
    return np.where(np.isnan(fpr).any(axis=1) | np.isnan(tpr).any(axis=1), np.nan, reached).astype(np.float64)
