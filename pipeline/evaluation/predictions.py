"""What the runs said: strict reading of the prediction files.

Reading proves what the metrics rest on: every run saw the same images, once each, with the same labels, and every
probability is the sigmoid of its logit.
"""

import csv
import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ProjectError
from pipeline.evaluation.bootstrap import Bools, Floats
from pipeline.evaluation.calibration import sigmoid
from pipeline.files import read_json
from pipeline.labels import EVALUATED, PNEUMONIA, SUBTYPES

log = logging.getLogger(__name__)

IMAGES = ["path", "split", "label", "subtype", "patient", "logit", "probability"]
STRESS = ["row", "change", "logit"]
UNSEEN_COLUMNS = ["version", *STRESS]
HISTORY = ["epoch", "step", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"]
FACTS = [
    *("run", "network", "group", "seed", "weights", "backend", "precision", "epochs", "steps"),
    *("parameters", "training_pictures", "dataset", "edition", "dataset_digest"),
]
TOLERANCE = 1e-5  # of a probability against its logit: float32 written as text


@dataclass(frozen=True)
class Split:
    """Images of one split in path order: `labels` is True for pneumonia; every field is `[images]`."""

    paths: list[str]
    labels: Bools
    subtypes: list[str]
    patients: list[str]
    logits: Floats


@dataclass(frozen=True)
class Predictions:
    """All that a run left: facts of run.json, two splits, validation logits under each change, history by epoch.

    `stress` holds the changes of the family `TRAINED`, `unseen` those of `UNSEEN`: none for a run that was not measured
    with them (its network is not kept), or with another version of the family.
    """

    name: str
    facts: dict[str, Any]
    validation: Split
    test: Split
    stress: dict[str, Floats]
    history: dict[str, Floats]
    unseen: dict[str, Floats] = field(default_factory=dict)


def read_all(folder: Path) -> dict[str, Predictions]:
    """Read every run in the predictions folder, by name, and check that all speak of the same images.

    Raises:
        ProjectError: there is no run, or a file is missing, incomplete or contradicts itself or the other runs.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    names = [name for name in names if not name.startswith(".")]
    if not names:
        raise ProjectError(f"{folder.name}/ holds no run: train one first (make repro)")
    runs = {name: read(folder / name) for name in names}
    _expect_agreement(runs)
    return runs


def read(folder: Path) -> Predictions:
    """Read one run's folder.

    Raises:
        ProjectError: a file is missing, or holds a line that cannot be true; the message names file and line.
    """
    facts = _facts(folder / "run.json")
    table = _table(_images(folder), IMAGES)
    order = _check_images(folder, table)
    splits = {}
    for split in EVALUATED:
        rows = [row for row in order if table["split"][row] == split]
        splits[split] = Split(
            paths=[table["path"][row] for row in rows],
            labels=np.array([table["label"][row] == PNEUMONIA for row in rows], dtype=bool),
            subtypes=[table["subtype"][row] for row in rows],
            patients=[table["patient"][row] for row in rows],
            logits=np.array([float(table["logit"][row]) for row in rows]),
        )
        if len(set(splits[split].labels.tolist())) < 2:
            raise ProjectError(f"{_name(folder)}/images.csv: {split} needs images of both classes")
    told, held = facts.get("validation_pictures"), len(splits["validation"].paths)
    if told not in (None, held):
        raise ProjectError(f"{_name(folder)}/images.csv holds {held} validation images; run.json says {told}")
    shared = set(splits["validation"].patients) & set(splits["test"].patients)
    if shared:
        raise ProjectError(f"{_name(folder)}/images.csv: patient {min(shared)} is in both validation and test")
    validation_rows = [row for row in order if table["split"][row] == "validation"]
    return Predictions(
        folder.name,
        facts,
        **splits,
        stress=_trained(folder / "stress.csv", validation_rows),
        unseen=_unseen(folder / "unseen.csv", validation_rows),
        history=_history(folder / "history.csv", facts["epochs"]),
    )


def _images(folder: Path) -> Path:
    """images.csv; of a commit before 0.2, which the gate of a change may read, the file under its old name."""
    old = folder / "pictures.csv"
    return old if old.is_file() else folder / "images.csv"


def _check_images(folder: Path, table: dict[str, list[str]]) -> list[int]:
    """Check every line of images.csv; return its rows in path order."""
    where = f"{_name(folder)}/images.csv"
    repeated = [path for path, times in Counter(table["path"]).items() if times > 1]
    if repeated:
        raise ProjectError(f"{where}: image {min(repeated)} is repeated")
    for row, (path, split, label, subtype, patient) in enumerate(
        zip(*(table[column] for column in IMAGES[:5]), strict=True)
    ):
        line = f"{where}, line {row + 2} ({path})"
        if split not in EVALUATED:
            raise ProjectError(f"{line}: split {split!r} is neither validation nor test")
        if label not in SUBTYPES:
            raise ProjectError(f"{line}: label {label!r} is neither NORMAL nor PNEUMONIA")
        if subtype not in SUBTYPES[label]:
            raise ProjectError(f"{line}: subtype {subtype!r} does not belong to {label}")
        if not path or not patient:
            raise ProjectError(f"{line}: path and patient must be named")
    logits = _numbers(table["logit"], where, "logit")
    given = _numbers(table["probability"], where, "probability")
    for wrong, what in (
        (~np.isfinite(logits), "logit is not a finite number"),
        (~((given >= 0) & (given <= 1)), "probability is not a number from 0 to 1"),
        (np.abs(given - sigmoid(np.nan_to_num(logits))) > TOLERANCE, "probability is not the sigmoid of the logit"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ProjectError(f"{where}, line {row + 2} ({table['path'][row]}): {what}")
    return sorted(range(len(logits)), key=lambda row: table["path"][row])


def _trained(path: Path, validation_rows: list[int]) -> dict[str, Floats]:
    """As `_stress` for the family `TRAINED`: its changes and no others."""
    from pipeline.robustness.families import TRAINED  # Pillow, which metrics alone do not need

    stress = _stress(path, STRESS, validation_rows)
    if stress.keys() != TRAINED.changes.keys():
        other = sorted(stress.keys() ^ TRAINED.changes.keys())[0]
        raise ProjectError(
            f"{_name(path.parent)}/{path.name} is of another family of changes than {TRAINED.name!r} ({other}): "
            f"dvc repro stress@{path.parent.name}"
        )
    return stress


def _unseen(path: Path, validation_rows: list[int]) -> dict[str, Floats]:
    """As `_stress` for the family `UNSEEN`, where it was measured in this version."""
    if not path.is_file():
        return {}
    from pipeline.robustness.families import UNSEEN  # Pillow, which metrics alone do not need

    measured = _table(path, UNSEEN_COLUMNS)
    if not measured["row"]:
        return {}
    versions = sorted(set(measured["version"]))
    if versions != [str(UNSEEN.version)] or set(measured["change"]) != UNSEEN.changes.keys():
        log.warning(
            "%s/%s is of version %s of the family, which is now %s: not measured (dvc repro stress@%s)",
            _name(path.parent), path.name, ", ".join(versions), UNSEEN.version, path.parent.name,
        )  # fmt: skip
        return {}
    return _stress(path, UNSEEN_COLUMNS, validation_rows)


def _stress(path: Path, columns: list[str], validation_rows: list[int]) -> dict[str, Floats]:
    """Logits of the validation images, in path order, under each change."""
    table = _table(path, columns)
    where = f"{_name(path.parent)}/{path.name}"
    logits = _numbers(table["logit"], where, "logit")
    rows = _numbers(table["row"], where, "row")
    place = {row: position for position, row in enumerate(validation_rows)}
    stress: dict[str, Floats] = {}
    for line, (row, change, logit) in enumerate(zip(rows, table["change"], logits, strict=True), start=2):
        if row not in place:
            raise ProjectError(f"{where}, line {line}: row {row:g} is no validation image of images.csv")
        if not np.isfinite(logit):
            raise ProjectError(f"{where}, line {line}: logit is not a finite number")
        if change not in stress:
            stress[change] = np.full(len(place), np.nan)
        column = stress[change]
        if not np.isnan(column[place[row]]):
            raise ProjectError(f"{where}, line {line}: row {row:g} is repeated under {change!r}")
        column[place[row]] = logit
    for change, column in stress.items():
        if np.isnan(column).any():
            raise ProjectError(f"{where}: {int(np.isnan(column).sum())} validation images are missing under {change!r}")
    if not stress:
        raise ProjectError(f"{where}: no stressed image")
    return dict(sorted(stress.items()))


def _history(path: Path, epochs: int) -> dict[str, Floats]:
    """Each column of history.csv, float64 `[epochs]`: a line for each epoch that run.json tells of, all finite."""
    table = _table(path, HISTORY)
    where = f"{_name(path.parent)}/{path.name}"
    history = {column: _numbers(table[column], where, column) for column in HISTORY}
    for column, values in history.items():
        if not np.isfinite(values).all():
            line = 2 + int(np.argmin(np.isfinite(values)))
            raise ProjectError(f"{where}, line {line}: {column} is not a finite number")
    if list(history["epoch"]) != list(range(1, epochs + 1)):
        raise ProjectError(f"{where} holds {len(history['epoch'])} epochs; run.json says {epochs}")
    return history


def _facts(path: Path) -> dict[str, Any]:
    where = f"{_name(path.parent)}/{path.name}"
    facts = read_json(path, "train the run again")
    missing = [key for key in FACTS if not isinstance(facts, dict) or key not in facts]
    if missing:
        raise ProjectError(f"{where}: {', '.join(missing)} missing")
    if facts["run"] != path.parent.name:
        raise ProjectError(f"{where}: speaks of run {facts['run']!r}, lies in the folder of {path.parent.name!r}")
    return facts


def _table(path: Path, columns: list[str]) -> dict[str, list[str]]:
    """Columns of a CSV as text; the header must be exactly `columns`."""
    where = f"{_name(path.parent)}/{path.name}"
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))
    except FileNotFoundError:
        raise ProjectError(f"{where} is missing: train the run again") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ProjectError(f"{where} is no valid CSV: {error}") from None
    if not rows or rows[0] != columns:
        raise ProjectError(f"{where}: expected the columns {', '.join(columns)}")
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(columns):
            raise ProjectError(f"{where}, line {line}: {len(row)} fields in place of {len(columns)}")
    return {column: [row[place] for row in rows[1:]] for place, column in enumerate(columns)}


def _numbers(texts: list[str], where: str, column: str) -> Floats:
    try:
        return np.array(texts, dtype=np.float64)
    except ValueError:
        for line, text in enumerate(texts, start=2):
            try:
                float(text)
            except ValueError:
                raise ProjectError(f"{where}, line {line}: {column} {text!r} is not a number") from None
        raise


def _expect_agreement(runs: dict[str, Predictions]) -> None:
    """All runs must hold the images that most of them hold, with the same labels and data set."""
    for split in EVALUATED:
        held = {name: tuple(getattr(run, split).paths) for name, run in runs.items()}
        usual = Counter(held.values()).most_common(1)[0][0]
        for name, paths in held.items():
            missing, unknown = sorted(set(usual) - set(paths)), sorted(set(paths) - set(usual))
            if missing:
                raise ProjectError(f"{name}: {len(missing)} {split} images are missing, first {missing[0]}")
            if unknown:
                raise ProjectError(
                    f"{name}: {len(unknown)} {split} images are unknown to other runs, first {unknown[0]}"
                )
    first = next(iter(runs.values()))
    for name, run in runs.items():
        for split in EVALUATED:
            ours, theirs = getattr(run, split), getattr(first, split)
            if (ours.subtypes, ours.patients) != (theirs.subtypes, theirs.patients):
                raise ProjectError(f"{name} and {first.name} disagree on subtype or patient of {split} images")
        for fact in ("dataset", "edition", "dataset_digest"):
            if run.facts[fact] != first.facts[fact]:
                raise ProjectError(f"{name} and {first.name} were made on different data sets ({fact})")


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"
