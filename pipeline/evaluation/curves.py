"""Curves as small CSV files, for `dvc plots` and for the figures."""

from pathlib import Path

import numpy as np

from pipeline.data.tables import write_table
from pipeline.evaluation import calibration
from pipeline.evaluation.measure import Samples, number
from pipeline.evaluation.predictions import SPLITS, Predictions, Split
from pipeline.evaluation.statistics import Floats, Sample, roc


def roc_points(split: Split) -> tuple[Floats, Floats]:
    """Corners of the ROC curve of the sample itself: false and true positive rates, from (0, 0) to (1, 1)."""
    own = Sample(np.ones((1, 1)), np.zeros(len(split.labels), dtype=np.intp))
    fpr, tpr, _ = roc(split.labels, split.logits, own)
    x, y = fpr[0].astype(np.float64), tpr[0].astype(np.float64)
    # A point between two others on a straight line says nothing.
    corner = np.ones(len(x), dtype=bool)
    dx, dy = np.diff(x), np.diff(y)
    corner[1:-1] = np.abs(dx[:-1] * dy[1:] - dx[1:] * dy[:-1]) > 1e-12
    return x[corner], y[corner]


def write_roc(folder: Path, run: Predictions) -> None:
    """ROC curves as `<split>/<run>.csv`: fpr, tpr."""
    for name in SPLITS:
        fpr, tpr = roc_points(getattr(run, name))
        rows = [{"fpr": number(x), "tpr": number(y)} for x, y in zip(fpr, tpr, strict=True)]
        write_table(folder / name / f"{run.name}.csv", ["fpr", "tpr"], rows)


def write_reliability(folder: Path, run: Predictions, samples: Samples) -> None:
    """Reliability diagrams as `<split>/<run>.csv`, and `<split>-recalibrated/<run>.csv` where a recalibration exists."""
    recalibration = calibration.fit(run.validation.labels, run.validation.logits)
    for name in SPLITS:
        split, sample = getattr(run, name), getattr(samples, name)
        stages = {name: split.logits}
        if recalibration:
            stages[f"{name}-recalibrated"] = recalibration(split.logits)
        for stage, logits in stages.items():
            points = calibration.reliability(split.labels, logits, sample)
            columns = ["predicted", "observed", "observed_low", "observed_high", "pictures"]
            write_table(folder / stage / f"{run.name}.csv", columns, map(_rounded, points))


def _rounded(point: dict[str, float]) -> dict[str, float | str]:
    return {key: value if isinstance(value, int) else number(value) for key, value in point.items()}
