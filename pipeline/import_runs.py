"""`make import-runs DIR=<folder>`: trainings of another machine, checked, into the tree and dvc.lock.

The folder is what `python -m pipeline.handover` wrote there. Afterwards `dvc repro --allow-missing` has nothing to train.
"""

import json
import logging
import shutil
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline import dvc, elsewhere, paths, settings
from pipeline.command import run as run_command
from pipeline.errors import ProjectError
from pipeline.evaluation import predictions
from pipeline.files import atomic_folder, write_text
from pipeline.handover import (
    PREDICTIONS,
    RECORD,
    UPSTREAM,
    dependencies,
    entry,
    expect_settings,
    outputs,
    parameters,
)

log = logging.getLogger("import-runs")
Record = Mapping[str, Any]
PARTS = {"run": str, "upstream": dict, "deps": dict, "params": dict, "outs": dict}  # of a record
AGAIN = "copy the whole folder once more"


def main() -> None:
    """Check every run of the folder first; import all of them or none."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        raise ProjectError("usage: make import-runs DIR=<folder that python -m pipeline.handover wrote>")
    source = Path(sys.argv[1])
    folders = sorted(path.parent for path in source.glob(f"*/{RECORD}"))
    if not folders:
        raise ProjectError(f"{source}: no folder in it holds a {RECORD}; write it with python -m pipeline.handover")
    known = settings.load().runs
    locked = dvc.lock()
    records = {folder: check(folder, known, locked) for folder in folders}
    for folder, record in records.items():
        place(folder, record)
    left = [record["run"] for folder, record in records.items() if not (folder / "network").exists()]
    write_lock({record["run"]: record for record in records.values()}, left)
    log.info("imported: %s", ", ".join(record["run"] for record in records.values()))
    if left:
        elsewhere.remember(left)
        log.warning("these networks exist only on the machine that trained them: %s", ", ".join(left))
        log.warning(
            "`make study` and `dvc repro --allow-missing` leave these runs as they are; `make repro` and plain "
            "`dvc repro` would train them again"
        )


def check(folder: Path, known: Mapping[str, settings.Run], locked: Mapping[str, Any]) -> Record:
    """The record of one run, after it agrees with this checkout.

    Raises:
        ProjectError: another run, other settings, code or data, a damaged or changed file.
    """
    record = read_record(folder / RECORD)
    name = record["run"]
    if name not in known:
        raise ProjectError(f"{folder}: {name!r} is not in train.runs of params.yaml; move its line there first")
    run = known[name]
    wanted = parameters(run)
    other = [key for key in {*wanted, *record["params"]} if wanted.get(key) != record["params"].get(key)]
    if other:
        raise ProjectError(f"{folder}: trained with other settings than params.yaml has: {', '.join(sorted(other))}")
    made = {out["path"]: out["md5"] for stage in locked.values() for out in stage.get("outs", [])}
    for path in UPSTREAM:
        if made.get(path) != record["upstream"].get(path, {}).get("md5"):
            raise ProjectError(f"{folder}: trained on another {path} than the one in dvc.lock")
    if sorted(record["deps"]) != dependencies(run) or sorted(record["outs"]) != outputs(run):
        raise ProjectError(f"{folder}: its record names other dependencies or outputs than dvc.yaml does")
    for path, there in record["deps"].items():
        if not path.startswith("data/") and entry(paths.ROOT / path)["md5"] != there["md5"]:
            raise ProjectError(f"{folder}: trained by another {path} than the one here")
    files = {f"predictions/{name}/{file}": folder / file for file in PREDICTIONS}
    if (folder / "network").exists():
        files[f"models/runs/{name}"] = folder / "network"
    for path, file in files.items():
        if not file.exists():
            raise ProjectError(f"{file} is missing: {AGAIN}")
        if entry(file) != record["outs"][path]:
            raise ProjectError(f"{file}: not the file that was handed over (its md5 or size differs from {RECORD})")
    expect_settings(run, predictions.read(folder).facts)
    return record


def read_record(path: Path) -> Record:
    """What `pipeline.handover` wrote of a run.

    Raises:
        ProjectError: it is cut off, or not what that command writes.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ProjectError(f"{path} is no whole JSON: {AGAIN}") from None
    if not isinstance(record, dict):
        raise ProjectError(f"{path} is no record of pipeline.handover: {AGAIN}")
    wrong = [part for part, kind in PARTS.items() if not isinstance(record.get(part), kind)]
    wrong = wrong or [
        path
        for part in ("upstream", "deps", "outs")
        for path, there in record[part].items()
        if not isinstance(there, dict) or "md5" not in there
    ]
    if wrong:
        raise ProjectError(f"{path} lacks {', '.join(wrong)}: {AGAIN}")
    return record


def place(folder: Path, record: Record) -> None:
    """Copy predictions, and the network where it came along, to where the stage would have written them.

    A network of an earlier training of this run is removed: it is not the one that made these predictions.
    """
    name = record["run"]
    with atomic_folder(paths.predictions(name)) as target:
        for file in PREDICTIONS:
            shutil.copyfile(folder / file, target / file)
    network = paths.network(name).parent
    if (folder / "network").exists():
        with atomic_folder(network) as target:
            shutil.copytree(folder / "network", target, dirs_exist_ok=True)
    elif network.exists():
        shutil.rmtree(network)


def write_lock(records: Mapping[str, Record], left: Collection[str]) -> None:
    """Put each run's entry into dvc.lock, as `dvc repro` would have written it; networks go into DVC's cache.

    `left` names the runs whose network did not come along.
    """
    whole = yaml.safe_load(paths.LOCK.read_text(encoding="utf-8"))
    for name, record in records.items():
        whole["stages"][f"{dvc.TRAIN}{name}"] = {
            "cmd": f"python -m pipeline.stages.train {name}",
            "deps": [{"path": path} | there for path, there in sorted(record["deps"].items())],
            "params": {paths.PARAMS.name: record["params"]},
            "outs": [{"path": path} | there for path, there in sorted(record["outs"].items())],
        }
    write_text(paths.LOCK, yaml.safe_dump(whole, sort_keys=False))
    with_network = [name for name in records if name not in left]
    if with_network and dvc.call("commit", "--force", *(f"{dvc.TRAIN}{name}" for name in with_network)) != 0:
        raise ProjectError("dvc commit failed (its message is above): the networks are in place, not in the cache")


if __name__ == "__main__":
    run_command("import-runs", main)
