"""Stage `baseline`: arrays and their index -> predictions/baseline/, a run that never looks at a lung."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from pipeline import paths
from pipeline.command import run
from pipeline.data.tables import read_table, write_table
from pipeline.errors import ProjectError
from pipeline.evaluation.calibration import sigmoid
from pipeline.evaluation.predictions import HISTORY, IMAGES, STRESS, UNSEEN_COLUMNS
from pipeline.files import atomic_folder, read_json, write_json
from pipeline.labels import are_pneumonia
from pipeline.learning import baseline
from pipeline.robustness.families import TRAINED, UNSEEN, Family

log = logging.getLogger("baseline")

CHUNK = 256
Rows = Sequence[Mapping[str, str]]


def main() -> None:
    """Fit on the training rows; predict validation, validation under stress, and test."""
    index = {part: read_table(paths.index(part)) for part in ("development", "test")}
    pixels = {part: _pixels(part) for part in index}
    chosen = sorted(int(row["row"]) for row in read_table(paths.group("validation")))
    training = sorted(set(range(len(index["development"]))) - set(chosen))
    rows = [index["development"][row] for row in training]
    labels = are_pneumonia(rows)
    if len(set(labels.tolist())) < 2:
        raise ProjectError("baseline: the training images are of one class")
    fitted = baseline.fit(_features(rows, pixels["development"], training), labels)
    for name in fitted.dropped:
        log.warning("%s is the same in every training image and is dropped", name)

    parts = {"validation": ("development", chosen), "test": ("test", list(range(len(index["test"]))))}
    predicted = []
    for split, (part, places) in parts.items():
        metadata = [index[part][place] for place in places]
        logits = fitted.logits(_features(metadata, pixels[part], places)).round(6)
        predicted += [
            {**{key: row[key] for key in IMAGES if key in row}, "split": split, "logit": value, "probability": chance}
            for row, value, chance in zip(metadata, logits, sigmoid(logits).round(9), strict=True)
        ]
    validation = [index["development"][place] for place in chosen]

    def under(family: Family) -> list[dict[str, object]]:
        """Its logits under each change of a family."""
        return [
            {"row": row, "change": name, "logit": value}
            for name, change in tqdm(family.changes.items(), desc=f"baseline under {family.name}", unit="change")
            for row, value in enumerate(
                fitted.logits(_features(validation, pixels["development"], chosen, change)).round(6)
            )
        ]

    with atomic_folder(paths.predictions("baseline")) as folder:
        write_table(folder / "images.csv", IMAGES, predicted)
        write_table(folder / "stress.csv", STRESS, under(TRAINED))
        unseen = ({"version": UNSEEN.version} | row for row in under(UNSEEN))
        write_table(folder / "unseen.csv", UNSEEN_COLUMNS, unseen)
        write_table(folder / "history.csv", HISTORY, [])
        write_json(folder / "run.json", _facts(fitted, len(training), len(chosen)))


def _pixels(part: str) -> np.ndarray:
    try:
        return np.load(paths.array(part), mmap_mode="r")
    except FileNotFoundError:
        raise ProjectError(f"data/arrays/{part}.npy is missing: run preprocess first (make repro)") from None


def _features(
    rows: Rows, pixels: np.ndarray, places: Sequence[int], change: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """Features of some rows of an array, a few hundred images at a time; `change` alters the pixels, not the file."""

    def chunks() -> Iterator[np.ndarray]:
        for start in range(0, len(places), CHUNK):
            part = pixels[places[start : start + CHUNK]]
            yield baseline.features(rows[start : start + CHUNK], change(part) if change else part)

    return np.concatenate(list(chunks()))


def _facts(fitted: baseline.Baseline, training: int, validation: int) -> dict[str, object]:
    dataset = read_json(paths.DATASET)
    return {
        "run": "baseline",
        "network": "logistic regression on file size and grey levels",
        "group": "raw",
        "seed": 0,
        "weights": "none",
        "backend": "scikit-learn",
        "precision": "float64",
        "epochs": 0,
        "steps": 0,
        "parameters": len(fitted.kept) + 1,
        "training_pictures": training,
        "validation_pictures": validation,
        "columns": [name for name in baseline.COLUMNS if name not in fitted.dropped],
        "dropped": fitted.dropped,
        "dataset": dataset["dataset"],
        "edition": dataset["edition"],
        "dataset_digest": dataset["digest"],
    }


if __name__ == "__main__":
    run("baseline", main)
