"""What a training on a machine without DVC hands over, and how DVC will see it: md5 and size of inputs, code and outputs.

    python -m pipeline.stages.train RUN                      # on the other machine
    python -m pipeline.handover FOLDER RUN [RUN ...] [--networks]

Copies predictions and history (and, with --networks, the weights) to FOLDER/RUN, beside a record of everything that the
training depended on. `make import-runs DIR=FOLDER` takes it from there. Needs no DVC. The record states what is here now;
that the training saw the same is proven by run.json and by the checkpoint that the training left in `.cache/`.
"""

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline import paths, settings
from pipeline.command import run as run_command
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import predictions
from pipeline.files import atomic_folder, write_json

RECORD = "record.json"
PREDICTIONS = ("history.csv", "pictures.csv", "run.json", "stress.csv")
UPSTREAM = ("data/arrays", "data/dataset.json", "data/groups")  # outputs of earlier stages that a training reads


def main() -> None:
    """Hand over the named runs."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.handover", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", nargs="+", help="keys of train.runs that were trained here")
    parser.add_argument("--networks", action="store_true", help="the weights too, not only their md5 and size")
    arguments = parser.parse_args()
    known = settings.load().runs
    for name in arguments.runs:
        if name not in known:
            raise ProjectError(f"{name!r} is not in train.runs of params.yaml")
        hand_over(known[name], arguments.folder / name, networks=arguments.networks)


def hand_over(run: settings.Run, folder: Path, *, networks: bool) -> None:
    """Write one run's folder.

    Raises:
        ProjectError: the run was not trained here, or not by the settings, data and code that are here now.
    """
    for path in (paths.predictions(run.name), paths.network(run.name)):
        if not path.exists():
            raise ProjectError(f"{run.name}: {path} is missing: was the run trained here?")
    facts = predictions.read(paths.predictions(run.name)).facts
    expect_settings(run, facts)
    _expect_data(run, facts)
    _expect_checkpoint(run, facts)
    record = describe(run)
    with atomic_folder(folder) as target:
        for name in PREDICTIONS:
            shutil.copyfile(paths.predictions(run.name) / name, target / name)
        if networks:
            shutil.copytree(paths.network(run.name).parent, target / "network")
        write_json(target / RECORD, record)


def describe(run: settings.Run) -> dict[str, Any]:
    """The record: `upstream`, `deps` and `outs` as {path: entry of dvc.lock}, and the settings that count."""
    return {
        "run": run.name,
        "upstream": {path: entry(paths.ROOT / path) for path in UPSTREAM},
        "deps": {path: entry(paths.ROOT / path) for path in dependencies(run)},
        "params": parameters(run),
        "outs": {path: entry(paths.ROOT / path) for path in outputs(run)},
    }


def expect_settings(run: settings.Run, facts: Mapping[str, Any]) -> None:
    """Compare run.json, which the training wrote, with the run's settings as they are now.

    Raises:
        ProjectError: they differ.
    """
    training = run.training
    now = {key: getattr(run, key) for key in ("network", "group", "seed", "weights", "augmentation", "starting_rate")}
    now |= {key: getattr(training, key) for key in ("epochs", "batch_size", "scaling", "keep", "augmenter")}
    if training.precision != "auto":
        now["precision"] = training.precision
    for key, value in now.items():
        if facts.get(key) != value:
            raise ProjectError(
                f"{run.name} was trained with {key} {facts.get(key)!r} (run.json), params.yaml has {value!r}: train it again"
            )


def _expect_data(run: settings.Run, facts: Mapping[str, Any]) -> None:
    here = json.loads(paths.DATASET.read_text(encoding="utf-8"))["digest"]
    if facts["dataset_digest"] != here:
        raise ProjectError(f"{run.name} was trained on another data set than {paths.DATASET} names: train it again")


def _expect_checkpoint(run: settings.Run, facts: Mapping[str, Any]) -> None:
    """The checkpoint that lies under the digest of settings, data and code as they are now must have the run's history."""
    from pipeline.learning.networks import starting_weights_digest  # Keras: 12 s
    from pipeline.stages import train

    os.environ["KERAS_BACKEND"] = facts["backend"]  # the digest is of the one that trained
    digest = train._digest(run, starting_weights_digest(run.network, run.weights))
    checkpoint = paths.CACHE / "training" / f"{run.name}-{digest[:16]}" / "checkpoint.npz"
    if not checkpoint.is_file():
        raise ProjectError(
            f"{run.name}: nothing proves that these settings, data, code and starting weights trained it ({checkpoint} is "
            "missing): hand over before any of them changes and before .cache is removed, or train it again"
        )
    with np.load(checkpoint) as saved:
        history = [train._history_row(row) for row in json.loads(str(saved["history"]))]
    if read_table(paths.predictions(run.name) / "history.csv") != [
        {name: str(value) for name, value in row.items()} for row in history
    ]:
        raise ProjectError(f"{run.name}: history.csv is not that of its checkpoint ({checkpoint}): train it again")


def outputs(run: settings.Run) -> list[str]:
    """The paths that dvc.yaml names as outputs of this training, sorted as in dvc.lock."""
    return sorted([f"models/runs/{run.name}", *(f"predictions/{run.name}/{name}" for name in PREDICTIONS)])


def dependencies(run: settings.Run) -> list[str]:
    """The files that dvc.yaml names as dependencies of this training, sorted as in dvc.lock."""
    return sorted(text.replace("${item.group}", run.group) for text in _stage()["deps"])


def parameters(run: settings.Run) -> dict[str, Any]:
    """The settings that dvc.yaml names for this training, with their values, as dvc.lock keeps them."""
    whole = yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8"))
    values: dict[str, Any] = {}
    for text in _stage()["params"]:
        # A run's name may hold no dot, so that a dotted key has one reading.
        key = text.replace("${item.network}", run.network).replace("${item.group}", run.group)
        key = key.replace("${key}", run.name)
        value = whole
        for part in key.split("."):
            value = value[part]
        values[key] = value
    return dict(sorted(values.items()))


def entry(path: Path) -> dict[str, Any]:
    """md5, size in bytes and, of a folder, the number of files, as DVC computes them.

    Raises:
        ProjectError: nothing is there.
    """
    if path.is_file():
        return {"hash": "md5", "md5": _md5(path.read_bytes()), "size": path.stat().st_size}
    if not path.is_dir():
        raise ProjectError(f"{path} is missing")
    files = sorted(file for file in path.rglob("*") if file.is_file())
    tree = [{"md5": _md5(file.read_bytes()), "relpath": file.relative_to(path).as_posix()} for file in files]
    tree.sort(key=lambda one: one["relpath"])
    return {
        "hash": "md5",
        "md5": f"{_md5(json.dumps(tree, sort_keys=True).encode())}.dir",
        "size": sum(file.stat().st_size for file in files),
        "nfiles": len(files),
    }


def _stage() -> dict[str, Any]:
    return yaml.safe_load((paths.ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]["do"]


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    run_command("handover", main)
