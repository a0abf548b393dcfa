"""A project of small drawn prediction files, on which `evaluate` and `compare` run in seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline import paths
from pipeline.data.tables import read_table
from tests.candidate_fixture import command
from tests.fake_predictions import SMALL, image_rows, write_logits, write_run

ROWS = image_rows(SMALL)
PARAMETERS = {
    "custom_cnn": 558_849,
    "densenet121": 7_169_089,
    "inception_v3": 22_065_185,
    "resnet50": 23_850_113,
    "vgg16": 14_781_249,
}
DONE = {  # name -> quality of its predictions; resnet50 and the robust group are not run
    "custom_cnn-augmented-0": 2.6,
    "custom_cnn-balanced-0": 2.8,
    "custom_cnn-raw-0": 1.0,
    "custom_cnn-augmented-1": 2.5,
    "custom_cnn-balanced-1": 2.9,
    "custom_cnn-augmented-0-steps": 2.7,
    "densenet121-augmented-0": 3.0,
    "densenet121-raw-0": 2.4,
    "densenet121-balanced-0": 3.1,
    "densenet121-balanced-0-random": 2.0,
    "vgg16-augmented-0": 12.0,
    "vgg16-raw-0": 2.0,
    "inception_v3-balanced-0": 9.0,
}
SHORT = "densenet121-raw-0"  # fewer epochs than the run that it would be compared with
COLLAPSED = "vgg16-augmented-0"  # constant on validation, wrong on test, and the best of all under stress
NOT_MEASURED = "densenet121-balanced-0"  # good, and its network was not kept
NOT_RUN = ["resnet50-balanced-0", "custom_cnn-robust-0"]


def project(root: Path, done: dict[str, float] = DONE, **facts: str) -> Path:
    """A folder with params.yaml (few resamples) and the predictions of some runs."""
    params = yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8"))
    params["evaluate"]["resamples"] = 100
    params["train"]["common"]["epochs"] = 5
    lines = (params["train"]["planned"] or {}) | params["train"]["runs"]
    params["train"]["runs"] = {name: lines[name] for name in DONE}
    params["train"]["planned"] = {name: lines[name] for name in NOT_RUN}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for seed, (name, quality) in enumerate(done.items()):
        line = lines[name]
        run_facts: dict[str, Any] = {"network": line["network"], "group": line["group"], "weights": line["weights"]}
        run_facts |= {"parameters": PARAMETERS[line["network"]], "epochs": 3 if name == SHORT else 5}
        run_facts["measured"] = name != NOT_MEASURED
        folder = root / "predictions" / name
        write_run(folder, ROWS, seed=seed, quality=quality, **run_facts, **facts)
        if name == COLLAPSED:
            logits = np.array([float(row["logit"]) for row in read_table(folder / "images.csv")])
            test = np.array([row[1] == "test" for row in ROWS])
            write_logits(folder, ROWS, np.where(test, -logits, 0.0))
    return root


def stage(name: str, root: Path, ok: bool = True) -> str:
    """Run a stage as its own process in `root`; return what it said on stderr."""
    done = command(root, name if "." in name else f"pipeline.stages.{name}")
    assert (done.returncode == 0) == ok, done.stderr
    return done.stderr
