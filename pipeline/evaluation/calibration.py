"""Do the probabilities mean what they say? Intercept, slope, reliability, and a logistic recalibration."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluation.bootstrap import Bools, Floats, Sample, divide, lower_bound, upper_bound

_STEPS = 40


def sigmoid(logits: Floats | np.float64) -> Floats:
    """The probability of a logit, without overflow."""
    return np.exp(-np.logaddexp(0, -logits))


def logit(probability: float) -> float:
    """The logit of a probability in (0, 1)."""
    return float(np.log(probability) - np.log1p(-probability))


@dataclass(frozen=True)
class Recalibration:
    """Logistic recalibration (Cox 1958): the new logit is `intercept + slope * logit`."""

    intercept: float
    slope: float

    def __call__(self, logits: Floats) -> Floats:
        """The recalibrated logits."""
        return self.intercept + self.slope * logits


def fit(labels: Bools, logits: Floats) -> Recalibration | None:
    """Maximum-likelihood intercept and slope; None where there is none (classes apart, one class, constant logits)."""
    intercept, slope = _newton(labels, logits, np.ones((1, len(labels))), start=None)
    if not np.isfinite(slope[0]):
        return None
    return Recalibration(float(intercept[0]), float(slope[0]))


def slope(labels: Bools, logits: Floats, sample: Sample) -> Floats:
    """Calibration slope: replicates. 1 is right, below 1 the probabilities are too extreme."""
    point_estimate = fit(labels, logits)
    if point_estimate is None:
        return np.full(len(sample.weights), np.nan)
    _, slopes = _newton(labels, logits, sample.of_images, start=point_estimate)
    slopes[0] = point_estimate.slope
    return slopes


def intercept(labels: Bools, logits: Floats, sample: Sample) -> Floats:
    """Calibration in the large: the intercept with the slope held at 1 (Van Calster 2019). Replicates.

    0 is right; below 0 the probabilities are too high on average.
    """
    positives = sample.totals(labels)
    total = sample.totals(np.ones(len(labels)))
    weights = sample.of_images
    offset = np.zeros(len(weights))
    logits32 = logits.astype(np.float32)
    # The expected count of positives grows with the offset: a bracketed Newton step always converges.
    low, high = np.full(len(weights), -60.0), np.full(len(weights), 60.0)
    for _ in range(_STEPS):
        probability = _sigmoid32(offset.astype(np.float32)[:, None] + logits32)
        miss = positives - np.einsum("bn,bn->b", weights, probability, dtype=np.float64)
        low, high = np.where(miss > 0, offset, low), np.where(miss > 0, high, offset)
        information = np.einsum("bn,bn,bn->b", weights, probability, 1 - probability, dtype=np.float64)
        step = divide(miss, information)
        moved = offset + step
        inside = (moved > low) & (moved < high)
        moved = np.where(inside, moved, (low + high) / 2)
        done = np.abs(moved - offset).max() < 1e-5
        offset = moved
        if done:
            break
    offset[0] = _offset(labels, logits)
    return np.where((positives == 0) | (positives == total), np.nan, offset)


def _offset(labels: Bools, logits: Floats) -> float:
    """The offset of the sample itself, by bisection in float64."""
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(logits + middle).sum() < labels.sum() else (low, middle)
    return (low + high) / 2


def _sigmoid32(logits: np.ndarray) -> np.ndarray:
    """Sigmoid in float32: exact enough for a sum over images, and several times faster."""
    return np.float32(1) / (np.float32(1) + np.exp(-np.clip(logits, -80, 80)))


def _newton(labels: Bools, logits: Floats, weights: np.ndarray, start: Recalibration | None) -> tuple[Floats, Floats]:
    """Weighted logistic regression of the label on the logit, one for each row of `weights`; NaN where none exists."""
    rows = len(weights)
    centre, scale = float(logits.mean()), float(logits.std())
    if scale < 1e-9 * (1 + abs(centre)):
        return np.full(rows, np.nan), np.full(rows, np.nan)
    kind: Any = np.float64 if rows == 1 else np.float32
    x = ((logits - centre) / scale).astype(kind)
    weights = weights.astype(kind, copy=False)
    # In standardised logits; `a` and `b` are turned back at the end.
    a = np.full(rows, 0.0 if start is None else start.intercept + start.slope * centre)
    b = np.full(rows, 1.0 if start is None else start.slope * scale)
    apart = _apart(labels, x, weights)
    settled = apart.copy()
    for _ in range(_STEPS):
        active = np.flatnonzero(~settled)
        if not len(active):
            break
        part = weights if len(active) == rows else weights[active]
        eta = a[active].astype(kind)[:, None] + b[active].astype(kind)[:, None] * x
        probability = kind(1) / (kind(1) + np.exp(-np.clip(eta, -80, 80)))
        residual = part * (labels - probability)
        curvature = part * probability * (1 - probability)
        g0, g1 = residual.sum(axis=1, dtype=np.float64), (residual @ x).astype(np.float64)
        h00, h01 = curvature.sum(axis=1, dtype=np.float64), (curvature @ x).astype(np.float64)
        h11 = (curvature @ (x * x)).astype(np.float64)
        determinant = h00 * h11 - h01 * h01
        step_a, step_b = divide(h11 * g0 - h01 * g1, determinant), divide(h00 * g1 - h01 * g0, determinant)
        # A long step far from the maximum overshoots: shorten it.
        length = np.maximum(1.0, np.hypot(step_a, step_b) / 5)
        a[active] += step_a / length
        b[active] += step_b / length
        size = np.hypot(step_a, step_b)
        settled[active] = ~(size > (1e-10 if rows == 1 else 1e-4) * (1 + np.abs(b[active])))
    bad = apart | ~settled | ~np.isfinite(a) | ~np.isfinite(b)
    slopes = np.where(bad, np.nan, b / scale)
    return np.where(bad, np.nan, a - slopes * centre), slopes


def _apart(labels: Bools, x: np.ndarray, weights: np.ndarray) -> Bools:
    """Rows in which a threshold separates the drawn classes, or one is missing: the likelihood has no maximum there."""
    drawn = weights > 0
    positive = np.where(drawn[:, labels], x[labels], np.nan) if labels.any() else np.full((len(weights), 1), np.nan)
    negative = (
        np.where(drawn[:, ~labels], x[~labels], np.nan) if not labels.all() else np.full((len(weights), 1), np.nan)
    )
    low_p, high_p = np.fmin.reduce(positive, axis=1), np.fmax.reduce(positive, axis=1)
    low_n, high_n = np.fmin.reduce(negative, axis=1), np.fmax.reduce(negative, axis=1)
    return ~((high_n > low_p) & (high_p > low_n))


def reliability(labels: Bools, logits: Floats, sample: Sample, bins: int = 10) -> list[dict[str, float]]:
    """Points of the reliability diagram: bins of (nearly) equal size, never one without an image.

    Each point: mean predicted probability, observed share of pneumonia with its interval, and images.
    """
    probability = sigmoid(logits)
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, max(0, len(edges) - 2))
    inside = place[:, None] == np.unique(place)
    observed = divide(sample.totals(labels[:, None] & inside), sample.totals(inside))
    return [
        {
            "predicted": float(probability[inside[:, bin_]].mean()),
            "observed": float(observed[0, bin_]),
            "observed_low": lower_bound(observed[:, bin_], 0.975),
            "observed_high": upper_bound(observed[:, bin_], 0.975),
            "pictures": int(inside[:, bin_].sum()),
        }
        for bin_ in range(inside.shape[1])
    ]
