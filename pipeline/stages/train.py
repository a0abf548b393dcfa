"""Stage `train`: train one run of `train.runs`, and write what its network says of every validation and test image."""

import ctypes
import fcntl
import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.command import run as run_command
from pipeline.data.tables import read_table, write_table
from pipeline.errors import ProjectError
from pipeline.files import atomic_folder, sha256_of, write_json
from pipeline.learning.settings import Run, load_run
from pipeline.schema import read_yaml

LABELS = {"NORMAL": 0, "PNEUMONIA": 1}
IMAGE_COLUMNS = ["path", "split", "label", "subtype", "patient", "logit", "probability"]


def main() -> None:
    """Train, predict, and put the network and the predictions in their places."""
    _end_with_parent()
    if len(sys.argv) != 2:
        raise ProjectError("usage: python -m pipeline.stages.train RUN (a key of train.runs in params.yaml)")
    train_run(load_run(sys.argv[1]))


def train_run(run: Run) -> None:
    """Train `run` on the arrays and row lists that the earlier stages wrote.

    Raises:
        ProjectError: an input is missing, the run cannot be trained, or another process trains it now.
    """
    # Keras: 12 s, after the settings are known to be good.
    from pipeline.learning.networks.head import starting_weights_digest
    from pipeline.learning.predict import logit_predictor
    from pipeline.learning.progress import ProgressOfRun
    from pipeline.learning.provenance import write_environment
    from pipeline.learning.training import HISTORY_COLUMNS, Images, train

    index = read_table(paths.index("development"))
    training, validation = read_table(paths.group(run.group)), read_table(paths.group("validation"))
    images = Images(
        pixels=_load(paths.array("development")),
        labels=np.array([LABELS[row["label"]] for row in index]),
        training_rows=np.array([int(row["row"]) for row in training]),
        validation_rows=np.array([int(row["row"]) for row in validation]),
    )
    digest = digest_of(run, starting_weights_digest(run.network, run.weights))
    with _locked(paths.CACHE / "training" / f"{run.name}-{digest[:16]}") as checkpoints:
        trained = train(run, images, checkpoints / "checkpoint.npz", ProgressOfRun())
        rows = [index[row] | {"split": "validation"} for row in images.validation_rows]
        rows += [row | {"split": "test"} for row in read_table(paths.index("test"))]
        predict = logit_predictor(trained.network)
        held_out = np.asarray(images.pixels[images.validation_rows])
        logits = np.concatenate([predict(held_out), predict(_load(paths.array("test")))])
        folder = paths.predictions(run.name)
        write_table(folder / "images.csv", IMAGE_COLUMNS, map(_image_row, rows, logits))
        write_table(folder / "history.csv", HISTORY_COLUMNS, map(_history_row, trained.history))
        write_json(folder / "run.json", _describe(run, images, trained))
        write_environment(folder / "environment.json")
        with atomic_folder(paths.network(run.name).parent) as weights:
            trained.network.save_weights(weights / paths.network(run.name).name)


def digest_of(run: Run, starting_weights: str) -> str:
    """SHA-256 of everything a checkpoint depends on: a stale one lies under another name and is never resumed."""
    inputs = [paths.array("development"), paths.group(run.group), paths.group("validation")]
    parts = [
        json.dumps(run.model_dump(), sort_keys=True),
        starting_weights,
        os.environ.get("KERAS_BACKEND", "tensorflow"),
        *map(sha256_of, inputs),
        *(sha256_of(paths.ROOT / file) for file in code_of(run)),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def code_of(run: Run) -> list[str]:
    """The files of code that dvc.yaml names for this training: what can change a weight."""
    stage = read_yaml(paths.ROOT / "dvc.yaml")["stages"]["train"]["do"]
    item = {"network": run.network, "group": run.group, "augmentation": run.augmentation}
    named = []
    for path in stage["deps"]:
        for key, value in item.items():
            path = path.replace(f"${{item.{key}}}", value)
        named.append(path)
    return [path for path in named if path.startswith("pipeline/")]


def _image_row(row: dict[str, str], logit: float) -> dict[str, Any]:
    # Nine digits hold a float32 whole, so that the probability is the sigmoid of the logit as written.
    written = float(f"{logit:.9g}")
    probability = float(np.exp(-np.logaddexp(0.0, -written)))
    return {name: row[name] for name in IMAGE_COLUMNS[:5]} | {
        "logit": f"{written:.9g}",
        "probability": f"{probability:.9g}",
    }


def _history_row(row: Any) -> dict[str, Any]:
    return {name: value if isinstance(value, int) else f"{value:.6g}" for name, value in row.items()}


def _describe(run: Run, images: Any, trained: Any) -> dict[str, Any]:
    """What a reader of the predictions must know about the run; nothing that differs from one execution to the next."""
    import keras

    dataset = json.loads(paths.DATASET.read_text(encoding="utf-8"))
    training = run.training.model_dump()
    return {
        "run": run.name,
        "network": run.network,
        "group": run.group,
        "seed": run.seed,
        "weights": run.weights,
        "augmentation": run.augmentation,
        "backend": keras.backend.backend(),
        "epochs": len(trained.history),
        "kept_epoch": trained.kept_epoch,
        "starting_rate": run.starting_rate,
        "precision": trained.precision,
        **{key: training[key] for key in ("batch_size", "scaling", "keep", "augmenter")},
        "image_size": int(images.pixels.shape[1]),
        "parameters": trained.network.count_params(),
        "trainable_parameters": sum(int(np.prod(weight.shape)) for weight in trained.network.trainable_weights),
        "training_pictures": len(images.training_rows),
        "validation_pictures": len(images.validation_rows),
        "steps": trained.history[-1]["step"],
        "dataset": dataset["dataset"],
        "edition": dataset["edition"],
        "dataset_digest": dataset["digest"],
    }


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise ProjectError(f"{path} is missing; run `make repro` (or `make restore` for the last good one)") from None


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Hold the run's checkpoint folder; a second training of the same run would write the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProjectError(
                f"another process trains this run now (it holds {folder / 'lock'}); wait for it or end it"
            ) from None
        yield folder


def _end_with_parent() -> None:
    """Ask the kernel to end this process when dvc ends: killing dvc would leave it training."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    run_command("train", main)
