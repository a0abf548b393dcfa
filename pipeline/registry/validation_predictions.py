"""What a shipped graph said of the validation images, plain and stressed: kept beside it, so that later ones compare.

`python -m pipeline.registry.validation_predictions` asks the graph of every champion on record that was not measured with
the family `UNSEEN` as it is now (one older than the family), and keeps what it says in the champion's folder.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.command import run
from pipeline.data.tables import read_table, write_table
from pipeline.errors import ProjectError
from pipeline.evaluation.bootstrap import Floats
from pipeline.evaluation.predictions import STRESS, UNSEEN_COLUMNS, Split
from pipeline.inference import Graph
from pipeline.labels import CLASSES
from pipeline.robustness.families import UNSEEN

log = logging.getLogger(__name__)

IMAGES = ["path", "label", "subtype", "patient", "logit"]


@dataclass(frozen=True)
class Validation:
    """The validation images in path order, and the logits `[images]` under each change of both families."""

    clean: Split
    stress: dict[str, Floats]  # the family `TRAINED`
    unseen: dict[str, Floats] = field(default_factory=dict)  # the family `UNSEEN`, which decides; empty: not measured

    def take(self, rows: np.ndarray) -> "Validation":
        """Some of the images: int or bool `[n]`."""
        rows = np.arange(len(self.clean.paths))[rows]
        clean = Split(
            paths=[self.clean.paths[row] for row in rows],
            labels=self.clean.labels[rows],
            subtypes=[self.clean.subtypes[row] for row in rows],
            patients=[self.clean.patients[row] for row in rows],
            logits=self.clean.logits[rows],
        )
        stress, unseen = (
            {change: logits[rows] for change, logits in family.items()} for family in (self.stress, self.unseen)
        )
        return Validation(clean, stress, unseen)


def write(folder: Path, validation: Validation) -> None:
    """Write predictions.csv (one row an image), stress.csv and, where it was measured, unseen.csv.

    `row` counts the rows of predictions.csv from 0.
    """
    clean = validation.clean
    images = [
        {
            "path": path,
            "label": CLASSES[int(label)],
            "subtype": subtype,
            "patient": patient,
            "logit": f"{logit:.9g}",
        }
        for path, label, subtype, patient, logit in zip(
            clean.paths, clean.labels, clean.subtypes, clean.patients, clean.logits, strict=True
        )
    ]
    write_table(folder / "predictions.csv", IMAGES, images)
    write_table(folder / "stress.csv", STRESS, _lines(validation.stress))
    if validation.unseen:
        keep_unseen(folder, validation.unseen)


def write_unseen(folder: Path, graph: Graph, images: np.ndarray) -> None:
    """Ask a graph about the validation images (uint8 [n, side, side]) under each change of `UNSEEN`; write unseen.csv."""
    keep_unseen(folder, ask(graph, images))


def ask(graph: Graph, images: np.ndarray) -> dict[str, Floats]:
    """Logits `[n]` under each change of `UNSEEN`, of images uint8 [n, side, side]."""
    return {name: graph.answer(change(images), name).logits for name, change in UNSEEN.changes.items()}


def keep_unseen(folder: Path, unseen: Mapping[str, Floats]) -> None:
    """Write unseen.csv."""
    lines = ({"version": UNSEEN.version} | line for line in _lines(unseen))
    write_table(folder / "unseen.csv", UNSEEN_COLUMNS, lines)


def _lines(logits_by_change: Mapping[str, Floats]) -> list[dict[str, object]]:
    return [
        {"row": row, "change": change, "logit": f"{logit:.6g}"}
        for change, logits in logits_by_change.items()
        for row, logit in enumerate(logits)
    ]


def measured(folder: Path) -> Validation:
    """As `read`, always with the family that decides: as it is kept, else as the folder's graph answers here.

    Where data/arrays holds some of the images alone, the answers are narrowed to these.

    Raises:
        ProjectError: it is not kept, and the images are not here either; or what `read` raises.
    """
    validation = read(folder)
    if validation.unseen:
        return validation
    here = {row["path"]: place for place, row in enumerate(_development(folder.name))}
    kept = validation.take(np.array([path in here for path in validation.clean.paths], dtype=bool))
    if not kept.clean.paths:
        raise ProjectError(f"{_not_measured(folder.name)}, and data/arrays holds none of its validation images")
    log.info("%s; its graph is asked", _not_measured(folder.name))
    images = np.load(paths.array("development"), mmap_mode="r")[[here[path] for path in kept.clean.paths]]
    return replace(kept, unseen=ask(Graph(folder / "model.onnx"), images))


def _development(name: str) -> list[dict[str, str]]:
    if not (paths.array("development").is_file() and paths.index("development").is_file()):
        raise ProjectError(
            f"{_not_measured(name)}, and data/arrays is not here to ask its graph: "
            "`make repro`, then `python -m pipeline.registry.validation_predictions`"
        )
    return read_table(paths.index("development"))


def _not_measured(name: str) -> str:
    return f"{name} was not measured with version {UNSEEN.version} of the family {UNSEEN.name!r}"


def read(folder: Path) -> Validation:
    """Read what `write` wrote.

    Raises:
        ProjectError: a file is missing, or a line cannot be true.
    """
    images = read_table(folder / "predictions.csv")
    try:
        clean = Split(
            paths=[row["path"] for row in images],
            labels=np.array([bool(CLASSES.index(row["label"])) for row in images], dtype=bool),
            subtypes=[row["subtype"] for row in images],
            patients=[row["patient"] for row in images],
            logits=np.array([float(row["logit"]) for row in images]),
        )
        stress = _by_change(read_table(folder / "stress.csv"), len(images))
    except (KeyError, ValueError, IndexError) as error:
        raise ProjectError(f"{folder}: predictions.csv or stress.csv is damaged ({error!r})") from None
    if not np.isfinite(np.concatenate([clean.logits, *stress.values()])).all() or len(set(clean.paths)) < len(images):
        raise ProjectError(f"{folder}: predictions.csv or stress.csv has a missing, repeated or infinite logit")
    return Validation(clean, stress, _unseen(folder / "unseen.csv", len(images)))


def _unseen(path: Path, images: int) -> dict[str, Floats]:
    """Logits under each change of `UNSEEN`; none where they were not measured, or with another version of it."""
    if not path.is_file():
        return {}
    lines = read_table(path)
    try:
        versions = {line["version"] for line in lines}
        unseen = _by_change(lines, images)
    except (KeyError, ValueError, IndexError) as error:
        raise ProjectError(f"{path} is damaged ({error!r})") from None
    if versions != {str(UNSEEN.version)} or unseen.keys() != UNSEEN.changes.keys():
        log.warning("%s is of another version of the family than %s, and does not count", path, UNSEEN.version)
        return {}
    if not all(np.isfinite(logits).all() for logits in unseen.values()):
        raise ProjectError(f"{path} has a missing or infinite logit")
    return unseen


def _by_change(lines: list[dict[str, str]], images: int) -> dict[str, Floats]:
    """Logits `[images]` of each change, NaN where a line is missing."""
    logits: dict[str, Floats] = {}
    for line in lines:
        column = logits.setdefault(line["change"], np.full(images, np.nan))
        column[int(line["row"])] = float(line["logit"])
    return logits


def main() -> None:
    """Measure the champions on record that were not."""
    from pipeline.registry import record

    for version in dict.fromkeys(event["version"] for event in record.events()):
        folder = paths.CHAMPIONS / version
        before = read(folder)
        if before.unseen:
            continue
        answered = measured(folder)
        if len(answered.clean.paths) < len(before.clean.paths):
            raise ProjectError(f"data/arrays lacks validation images of {version}: only all of them are kept")
        keep_unseen(folder, answered.unseen)


if __name__ == "__main__":
    run("validation predictions", main)
