"""Prediction files as runs would leave them: drawn, not learned. For tests and benchmarks."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.tables import write_table
from pipeline.evaluation.calibration import sigmoid
from pipeline.evaluation.predictions import HISTORY, IMAGES, STRESS, UNSEEN_COLUMNS
from pipeline.robustness.families import TRAINED, UNSEEN

CHANGES = tuple(TRAINED.changes)


@dataclass(frozen=True)
class Size:
    """Patients of each class in a split."""

    normal: int
    pneumonia: int


SMALL = {"validation": Size(25, 40), "test": Size(25, 40)}


def image_rows(sizes: dict[str, Size], seed: int = 0) -> list[tuple[str, str, str, str, str]]:
    """Rows of path, split, label, subtype, patient: one to three images a patient."""
    rng = np.random.default_rng(seed)
    rows = []
    for split, size in sizes.items():
        folder = "train" if split == "validation" else "test"
        for label, patients in (("NORMAL", size.normal), ("PNEUMONIA", size.pneumonia)):
            for number in range(patients):
                kind = "normal" if label == "NORMAL" else ("bacterial", "viral")[number % 2]
                patient = f"{split}-{kind}{number:04}"
                for number in range(int(rng.integers(1, 4)) if label == "PNEUMONIA" else 1):
                    rows.append((f"{folder}/{label}/{patient}-{number}.jpeg", split, label, kind, patient))
    return rows


def write_run(
    folder: Path,
    rows: list[tuple[str, str, str, str, str]],
    *,
    seed: int = 0,
    quality: float = 2.5,
    changes: tuple[str, ...] = CHANGES,
    epochs: int = 5,
    measured: bool = True,
    **facts: Any,
) -> None:
    """Write the files of one run; `quality` is the distance of the classes in standard deviations.

    Not `measured`: the network was kept nowhere, and nothing is known of it under the family that decides.
    """
    rng = np.random.default_rng(seed)
    positive = np.array([row[2] == "PNEUMONIA" for row in rows])
    child = {patient: rng.normal() for patient in sorted({row[4] for row in rows})}
    noise = rng.normal(size=len(rows)) * 0.8 + np.array([child[row[4]] for row in rows]) * 0.6
    logits = (quality * (positive - 0.5) + noise).round(6)
    write_logits(folder, rows, logits)
    validation = [place for place, row in enumerate(rows) if row[1] == "validation"]
    stressed = [
        (place, change, round(float(logits[place] * 0.9 + rng.normal() * 0.5), 6))
        for change in changes
        for place in validation
    ]
    write_table(folder / "stress.csv", STRESS, (dict(zip(STRESS, row, strict=True)) for row in stressed))
    unseen = [
        (UNSEEN.version, place, change, round(float(logits[place] * 0.8 + rng.normal() * 0.7), 6))
        for change in (UNSEEN.changes if measured else ())
        for place in validation
    ]
    write_table(folder / "unseen.csv", UNSEEN_COLUMNS, (dict(zip(UNSEEN_COLUMNS, row, strict=True)) for row in unseen))
    history = [
        (epoch, 10 * epoch, 0.001, 0.5 / epoch, 1 - 0.2 / epoch, 0.6 / epoch, 1 - 0.3 / epoch)
        for epoch in range(1, epochs + 1)
    ]
    write_table(folder / "history.csv", HISTORY, (dict(zip(HISTORY, row, strict=True)) for row in history))
    parts = folder.name.split("-")
    known = {
        "run": folder.name,
        "network": parts[0],
        "group": parts[1] if len(parts) > 1 else "none",
        "seed": int(parts[2]) if len(parts) > 2 else 0,
        "weights": "random",
        "backend": "tensorflow",
        "precision": "float32",
        "epochs": epochs,
        "steps": 10 * epochs,
        "parameters": 1000,
        "training_pictures": 320,
        "dataset": "chest-xray-pneumonia",
        "edition": "224px",
        "dataset_digest": "0" * 64,
    }
    (folder / "run.json").write_text(json.dumps(known | facts))


def write_logits(folder: Path, rows: list[tuple[str, str, str, str, str]], logits: np.ndarray) -> None:
    """Write images.csv alone."""
    folder.mkdir(parents=True, exist_ok=True)
    table = [(*row, float(x), round(float(p), 9)) for row, x, p in zip(rows, logits, sigmoid(logits), strict=True)]
    write_table(folder / "images.csv", IMAGES, (dict(zip(IMAGES, row, strict=True)) for row in table))
