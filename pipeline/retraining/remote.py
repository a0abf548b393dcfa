"""Several machines, one remote: what a worker takes from it before a training, and what it gives back.

A worker has a checkout of its own. It learns from the scheduler which inputs the run has (their lines of dvc.lock, a
few hashes), takes them from the DVC remote, and pushes what it trained together with DVC's run cache. From that run
cache `gather_runs` gets every training back, so that one dvc.lock holds them all. Nothing else travels: the images as they
came, and the sheets that show some of them, stay on the head.
"""

import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from pipeline import dvc
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.files import write_text
from pipeline.retraining.subprocesses import check

REMOTE = "RETRAIN_REMOTE"  # a folder or s3://bucket/folder that all machines reach; unset: this machine alone
LOCK = "RETRAIN_LOCK"  # JSON: the lines of dvc.lock that a training's inputs come from
INPUTS = {"ingest": "data/dataset.json", "preprocess": "data/arrays", "groups": "data/groups"}


def is_on() -> bool:
    """Whether several machines work on this retraining."""
    return bool(os.environ.get(REMOTE))


def set_remote(folder: Path) -> None:
    """Make the shared remote the default of a workspace; credentials stay in the environment."""
    check(
        dvc.command("remote", "add", "--local", "--default", "--force", "retrain", os.environ[REMOTE]), folder, "remote"
    )


def describe_inputs(folder: Path) -> str:
    """What a worker must know to take the inputs: the lines of dvc.lock of the stages that made them, as JSON."""
    stages = _read_lock(folder)["stages"]
    return json.dumps({name: stages[name] for name in INPUTS})


def take_inputs(folder: Path, described: str) -> None:
    """Take a training's inputs from the remote, unless this workspace made or has them already.

    Raises:
        ProjectError: the remote does not answer, refuses, or lacks a file.
    """
    if not described:
        return
    temporary = folder / ".dvc" / "tmp"
    temporary.mkdir(exist_ok=True)  # DVC makes it at its first command, which may be ours
    with (temporary / "inputs.lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        lock = _read_lock(folder)
        wanted = json.loads(described)
        if all(
            lock["stages"].get(name) == lines and (folder / INPUTS[name]).exists() for name, lines in wanted.items()
        ):
            return
        lock["stages"] |= wanted
        write_text(folder / "dvc.lock", yaml.safe_dump(lock, sort_keys=False))
        check(dvc.command("--wait-for-lock", "pull", *INPUTS.values()), folder, "inputs from the remote")


def push(folder: Path, stages: list[str]) -> None:
    """Push what other machines need of the outputs of stages: a training's inputs, what a run has, its notes in the run cache.

    Raises:
        ProjectError: the remote does not answer or refuses.
    """
    if wanted := [stage for stage in stages if stage in INPUTS or stage.startswith(dvc.OF_A_RUN)]:
        check([sys.executable, "-m", __name__, *wanted], folder, "push to the remote")


def main() -> None:
    """Push a training's inputs, trainings, and the notes of the run cache.

    `dvc push` (3.67) leaves behind what is marked `push: false` (arrays of images, which only this remote may get) and
    what git keeps; `dvc push --run-cache` takes along every output of every stage that the run cache knows, the raw
    images among them.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo

    lock = _read_lock(Path.cwd())["stages"]
    outs = [(stage, out) for stage in sys.argv[1:] for out in lock[stage]["outs"]]
    kept = {HashInfo("md5", out["md5"]) for stage, out in outs if stage not in INPUTS or out["path"] == INPUTS[stage]}
    lost: set[HashInfo] = set()
    try:
        with Repo() as repo:
            remote = repo.cloud.get_remote_odb(command="push")
            # `repo.cloud.push` is shallow: of a folder it takes the list of its files, and not one of them.
            done = repo.cloud.transfer(
                repo.cache.local,
                remote,
                kept,
                shallow=False,
                validate_status=lambda status: lost.update(status.missing),
            )
            repo.stage_cache.push(None)
    except (DvcException, OSError) as error:
        raise ProjectError(str(error)) from None
    if lost or done.failed:
        raise ProjectError(f"{len(lost | done.failed)} files were not pushed")


def _read_lock(folder: Path) -> dict[str, Any]:
    file = folder / "dvc.lock"
    lock = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None
    if lock is not None and not isinstance(lock, dict):
        raise ProjectError(f"{file} is no lock of DVC")
    return lock or {"schema": "2.0", "stages": {}}


if __name__ == "__main__":
    run("push", main)
