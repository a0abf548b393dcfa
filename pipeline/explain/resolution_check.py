"""Pictures at their original size against their small twins in the data set."""

from pathlib import Path

import numpy as np

from pipeline.data.imaging import read_pixels
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import calibration
from pipeline.explain.saliency_checks import Row, Subject


def compare(subject: Subject, folder: Path, manifest: Path, raw: Path) -> Row:
    """How far apart the probabilities are, and how many verdicts flip.

    Args:
        subject: who is asked; its pictures say how large.
        folder: the originals, *.jpeg below it, with the data set's own file names; others are passed over.
        manifest: the table of the data set's pictures.
        raw: the folder that its paths are relative to.

    Raises:
        ProjectError: no original has a twin.
    """
    twins = {Path(row["path"]).name: raw / row["path"] for row in read_table(manifest)}
    found = sorted((path for path in folder.rglob("*.jpeg") if path.name in twins), key=lambda path: path.name)
    if not found:
        raise ProjectError(f"CXR_ORIGINALS={folder} holds no picture of the data set")
    side = subject.parts["test"].pixels.shape[1]
    logits = [
        subject.ask(np.stack([read_pixels(path, side) for path in edition]))
        for edition in (found, [twins[path.name] for path in found])
    ]
    apart = np.abs(calibration.sigmoid(logits[0]) - calibration.sigmoid(logits[1]))
    row: Row = {
        "pictures": len(found),
        "edition": subject.facts["edition"],
        "probability_apart_mean": round(float(apart.mean()), 5),
        "probability_apart_largest": round(float(apart.max()), 5),
    }
    for point, cut in subject.cuts.items():
        if cut is not None:
            row[f"{point}_flips"] = int(((logits[0] >= cut) != (logits[1] >= cut)).sum())
    return row
