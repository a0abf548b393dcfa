"""A non-image baseline: what an image's size, file and brightness alone say of its label.

Whoever reads a network's AUC needs this one beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

PERCENTILES = (5, 25, 50, 75, 95)
FILE = ("width", "height", "bytes")
COLUMNS = (*FILE, "mean", "standard_deviation", *(f"percentile_{p}" for p in PERCENTILES))


@dataclass(frozen=True)
class Baseline:
    """A fitted logistic regression, the columns it reads, and those that were constant and dropped."""

    model: Pipeline
    kept: list[int]

    @property
    def dropped(self) -> list[str]:
        """Names of the constant columns."""
        return [name for place, name in enumerate(COLUMNS) if place not in self.kept]

    def logits(self, values: np.ndarray) -> np.ndarray:
        """Logit of pneumonia for rows of `features`: float64 `[images]`."""
        return self.model.decision_function(values[:, self.kept])


def features(rows: Sequence[Mapping[str, str]], pixels: np.ndarray) -> np.ndarray:
    """Columns `COLUMNS` for manifest rows and their pixels (uint8 `[images, side, side]`): float64."""
    flat = pixels.reshape(len(pixels), -1)
    of_file = np.array([[float(row[name]) for name in FILE] for row in rows])
    percentiles = np.percentile(flat, PERCENTILES, axis=1).T
    return np.column_stack([of_file, flat.mean(axis=1), flat.std(axis=1), percentiles])


def fit(values: np.ndarray, labels: np.ndarray) -> Baseline:
    """Fit on training images; a column that never varies there is dropped."""
    kept = np.flatnonzero(np.ptp(values, axis=0) > 0).tolist()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return Baseline(model.fit(values[:, kept], labels), kept)
