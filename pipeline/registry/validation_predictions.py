"""What a shipped graph said of the validation pictures, plain and stressed: kept beside it, so that later ones compare."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.tables import read_table, write_table
from pipeline.errors import ProjectError
from pipeline.evaluation.bootstrap import Floats
from pipeline.evaluation.predictions import Split

PICTURES = ["path", "label", "subtype", "patient", "logit"]
STRESS = ["row", "change", "logit"]


@dataclass(frozen=True)
class Validation:
    """The validation pictures in path order, and the logits `[pictures]` under each change."""

    clean: Split
    stress: dict[str, Floats]

    def take(self, rows: np.ndarray) -> "Validation":
        """Some of the pictures: int or bool `[n]`."""
        rows = np.arange(len(self.clean.paths))[rows]
        clean = Split(
            paths=[self.clean.paths[row] for row in rows],
            labels=self.clean.labels[rows],
            subtypes=[self.clean.subtypes[row] for row in rows],
            patients=[self.clean.patients[row] for row in rows],
            logits=self.clean.logits[rows],
        )
        return Validation(clean, {change: logits[rows] for change, logits in self.stress.items()})


def write(folder: Path, validation: Validation) -> None:
    """Write predictions.csv (one row a picture) and stress.csv (`row` counts the rows of predictions.csv from 0)."""
    clean = validation.clean
    pictures = [
        {
            "path": path,
            "label": "PNEUMONIA" if label else "NORMAL",
            "subtype": subtype,
            "patient": patient,
            "logit": f"{logit:.9g}",
        }
        for path, label, subtype, patient, logit in zip(
            clean.paths, clean.labels, clean.subtypes, clean.patients, clean.logits, strict=True
        )
    ]
    write_table(folder / "predictions.csv", PICTURES, pictures)
    stress = [
        {"row": row, "change": change, "logit": f"{logit:.6g}"}
        for change, logits in validation.stress.items()
        for row, logit in enumerate(logits)
    ]
    write_table(folder / "stress.csv", STRESS, stress)


def read(folder: Path) -> Validation:
    """Read what `write` wrote.

    Raises:
        ProjectError: a file is missing, or a line cannot be true.
    """
    pictures = read_table(folder / "predictions.csv")
    lines = read_table(folder / "stress.csv")
    try:
        clean = Split(
            paths=[row["path"] for row in pictures],
            labels=np.array([{"NORMAL": False, "PNEUMONIA": True}[row["label"]] for row in pictures], dtype=bool),
            subtypes=[row["subtype"] for row in pictures],
            patients=[row["patient"] for row in pictures],
            logits=np.array([float(row["logit"]) for row in pictures]),
        )
        stress: dict[str, Floats] = {}
        for line in lines:
            stress.setdefault(line["change"], np.full(len(pictures), np.nan))[int(line["row"])] = float(line["logit"])
    except (KeyError, ValueError, IndexError) as error:
        raise ProjectError(f"{folder}: predictions.csv or stress.csv is damaged ({error!r})") from None
    if not np.isfinite(np.concatenate([clean.logits, *stress.values()])).all() or len(set(clean.paths)) < len(pictures):
        raise ProjectError(f"{folder}: predictions.csv or stress.csv has a missing, repeated or infinite logit")
    return Validation(clean, stress)
