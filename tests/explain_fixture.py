"""A tiny project in which everything from predictions to the report has run, on generated images. Made once a process."""

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import yaml

from pipeline.data.tables import read_table, write_table
from pipeline.evaluation.predictions import HISTORY, IMAGES, STRESS, UNSEEN_COLUMNS
from pipeline.robustness.families import TRAINED, UNSEEN, Family
from tests import champion_fixture
from tests.candidate_fixture import RUN, SIDE, command, write_network, write_root


@cache
def explained() -> Path:
    """Root after `explain`, with one run trained and one planned."""
    folder = Path(tempfile.mkdtemp(prefix="explain-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    root = write_root(folder / "root")
    write_settings(root)
    write_network(root)
    write_predictions(root)
    (root / "models" / "candidate").mkdir()  # what `package` leaves, as far as `explain` reads it
    np.savez(root / "models" / "candidate" / "guard.npz", **champion_fixture.plain_guard(limit=0.0))
    onnx.save(champion_fixture._graph(8.0, SIDE), root / "models" / "candidate" / "model.onnx")
    for stage in ("evaluate", "compare", "explain"):
        done = command(root, f"pipeline.stages.{stage}")
        assert done.returncode == 0, done.stderr
    return root


def write_settings(root: Path) -> None:
    """Few networks, few resamples, few draws."""
    settings = yaml.safe_load((root / "params.yaml").read_text())
    train = settings["train"]
    line = {"group": "raw", "augmentation": "none", "seed": 0, "weights": "random"}
    train["runs"] = {RUN: {"network": "custom_cnn", **line}}
    train["planned"] = {"vgg16-raw-0": {"network": "vgg16", **line}}
    settings["evaluate"]["resamples"] = 200
    settings["explain"] |= {"cascade": {"pictures": 12, "steps": 4, "draws": 1}, "shuffles": 2}
    (root / "params.yaml").write_text(yaml.safe_dump(settings))
    dataset = {"dataset": "phantom", "edition": "phantom", "pictures": 280, "bytes": 1000, "digest": "0" * 64}
    (root / "data" / "dataset.json").write_text(json.dumps(dataset))


def write_predictions(root: Path) -> None:
    """What `train` would have written of the network that lies in models/runs."""
    from pipeline.learning.networks import head
    from pipeline.learning.predict import logit_predictor

    arrays = root / "data" / "arrays"
    side = np.load(arrays / "test.npy", mmap_mode="r").shape[1]
    network = head.build("custom_cnn", side)
    network.load_weights(root / "models" / "runs" / RUN / "network.weights.h5")
    predict = logit_predictor(network)
    index = read_table(arrays / "development.csv")
    held = [int(row["row"]) for row in read_table(root / "data" / "groups" / "validation.csv")]
    clean = np.load(arrays / "development.npy")[held]
    rows = [index[row] | {"split": "validation"} for row in held]
    rows += [row | {"split": "test"} for row in read_table(arrays / "test.csv")]
    logits = np.concatenate([predict(clean), predict(np.load(arrays / "test.npy"))]).astype(float)
    folder = root / "predictions" / RUN
    write_table(
        folder / "images.csv",
        IMAGES,
        (
            {**{key: row[key] for key in IMAGES[:5]}, "logit": logit, "probability": 1 / (1 + np.exp(-logit))}
            for row, logit in zip(rows, logits, strict=True)
        ),
    )

    def under(family: Family) -> list[dict[str, object]]:
        return [
            dict(zip(STRESS, (row, name, float(logit)), strict=True))
            for name, change in family.changes.items()
            for row, logit in enumerate(predict(change(clean)))
        ]

    write_table(folder / "stress.csv", STRESS, under(TRAINED))
    write_table(folder / "unseen.csv", UNSEEN_COLUMNS, ({"version": UNSEEN.version} | row for row in under(UNSEEN)))
    history = dict(zip(HISTORY, (1, 1, 0.001, 0.5, 0.8, 0.6, 0.7), strict=True))
    write_table(folder / "history.csv", HISTORY, [history])
