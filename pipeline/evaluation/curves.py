"""Curves as small CSV files, for `dvc plots` and for the figures."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.tables import write_table
from pipeline.evaluation import calibration
from pipeline.evaluation.bootstrap import Floats, Sample, roc
from pipeline.evaluation.predictions import Predictions, Split
from pipeline.evaluation.run_metrics import Samples, number
from pipeline.labels import EVALUATED

ROC = ["run", "fpr", "tpr"]
RELIABILITY = ["run", "predicted", "observed", "observed_low", "observed_high", "pictures"]
TRAINING = ["run", "epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"]
Row = dict[str, Any]


def roc_points(split: Split) -> tuple[Floats, Floats]:
    """Corners of the ROC curve of the sample itself: false and true positive rates, from (0, 0) to (1, 1)."""
    unweighted = Sample(np.ones((1, 1)), np.zeros(len(split.labels), dtype=np.intp))
    fpr, tpr, _ = roc(split.labels, split.logits, unweighted)
    x, y = fpr[0].astype(np.float64), tpr[0].astype(np.float64)
    # A point between two others on a straight line says nothing.
    corner = np.ones(len(x), dtype=bool)
    dx, dy = np.diff(x), np.diff(y)
    corner[1:-1] = np.abs(dx[:-1] * dy[1:] - dx[1:] * dy[:-1]) > 1e-12
    return x[corner], y[corner]


def roc_rows(run: Predictions, split: str) -> list[Row]:
    """The run's ROC curve on a split, for plots/roc-<split>.csv."""
    fpr, tpr = roc_points(getattr(run, split))
    return [{"run": run.name, "fpr": number(x), "tpr": number(y)} for x, y in zip(fpr, tpr, strict=True)]


def training_rows(run: Predictions) -> list[Row]:
    """The run's curves over its epochs, for plots/training.csv; a run without epochs has none."""
    columns = [name for name in TRAINING if name not in ("run", "epoch")]
    return [
        {"run": run.name, "epoch": int(epoch), **{name: number(run.history[name][place]) for name in columns}}
        for place, epoch in enumerate(run.history["epoch"])
    ]


def reliability_rows(run: Predictions, samples: Samples, split: str, recalibrated: bool) -> list[Row]:
    """The run's reliability diagram on a split; with `recalibrated`, none where no recalibration exists."""
    predicted, sample = getattr(run, split), getattr(samples, split)
    logits = predicted.logits
    if recalibrated:
        fitted = calibration.fit(run.validation.labels, run.validation.logits)
        if fitted is None:
            return []
        logits = fitted(logits)
    return [{"run": run.name} | _rounded(point) for point in calibration.reliability(predicted.labels, logits, sample)]


def write(folder: Path, runs: Iterable[Predictions], samples: Samples) -> None:
    """Every curve of every run, a table a kind with a column `run`: what `dvc plots` overlays."""
    runs = list(runs)
    for split in EVALUATED:
        write_table(folder / f"roc-{split}.csv", ROC, (row for run in runs for row in roc_rows(run, split)))
        for recalibrated, suffix in ((False, ""), (True, "-recalibrated")):
            rows = (row for run in runs for row in reliability_rows(run, samples, split, recalibrated))
            write_table(folder / f"reliability-{split}{suffix}.csv", RELIABILITY, rows)
    write_table(folder / "training.csv", TRAINING, (row for run in runs for row in training_rows(run)))


def _rounded(point: dict[str, float]) -> dict[str, float | str]:
    return {key: value if isinstance(value, int) else number(value) for key, value in point.items()}
