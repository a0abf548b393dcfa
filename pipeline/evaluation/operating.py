"""The two thresholds fixed on validation patients: one that misses few, one that alarms few."""

import numpy as np

from pipeline.evaluation.bootstrap import LEVEL, Bools, Floats, Sample, roc


def sensitive(labels: Bools, logits: Floats, sample: Sample, target: float) -> float | None:
    """The highest observed logit whose one-sided 95 % bound of sensitivity is at least `target`.

    An image is called pneumonia where its logit is at least the threshold. None where a class is missing.
    """
    _, tpr, thresholds = roc(labels, logits, sample)
    bound = _bounds(tpr)
    reached = np.flatnonzero(bound >= target - 1e-6)
    return float(thresholds[reached[0]]) if len(reached) else None


def specific(labels: Bools, logits: Floats, sample: Sample, target: float) -> float | None:
    """The lowest observed logit whose one-sided 95 % bound of specificity is at least `target`, or None."""
    fpr, _, thresholds = roc(labels, logits, sample)
    bound = _bounds(1 - fpr)
    reached = np.flatnonzero(bound >= target - 1e-6)
    return float(thresholds[reached[-1]]) if len(reached) else None


def _bounds(rates: np.ndarray) -> Floats:
    """The lower bound at each threshold; the column "none called positive" is left out. NaN if a class is missing."""
    return np.quantile(rates[1:, 1:].astype(np.float64), 1 - LEVEL, axis=0)
