"""DVC from Python: its commands as subprocesses of this environment, its lock file as a dictionary."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline import paths
from pipeline.errors import ProjectError

TRAIN = "train@"
OF_A_RUN = (TRAIN, "stress@")  # the stages that a run has each: where its network is, they are made


def command(*arguments: str) -> list[str]:
    """The command line of DVC in this environment."""
    return [sys.executable, "-m", "dvc", *arguments]


def environment(**changes: str) -> dict[str, str]:
    """The environment for DVC: stages say `python`, which must be this interpreter."""
    binaries = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}", **changes}


def call(*arguments: str, folder: Path = paths.ROOT) -> int:
    """Run DVC with its output shown; returns its exit status."""
    return subprocess.run(command(*arguments), cwd=folder, env=environment(), check=False).returncode


def status(folder: Path = paths.ROOT) -> dict[str, list[Any]]:
    """What DVC finds changed, by stage: `dvc status --json`.

    Raises:
        ProjectError: DVC cannot read the project.
    """
    done = subprocess.run(
        command("status", "--json"), cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ProjectError(f"dvc status: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def lock(folder: Path = paths.ROOT) -> dict[str, Any]:
    """The stages of dvc.lock; empty when there is none."""
    path = folder / "dvc.lock"
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("stages", {}) if path.exists() else {}


def trainings_to_run(runs: Mapping[str, Any], folder: Path = paths.ROOT) -> list[str]:
    """The runs that `dvc repro` would train: never trained, trained with other settings or code, or lost."""
    locked, changes, cache = lock(folder), status(folder), paths_in_cache(folder)
    wanted = []
    for name in runs:
        stage = f"{TRAIN}{name}"
        if stage not in locked or differs(changes.get(stage, [])) or _is_lost(locked[stage], folder, cache):
            wanted.append(name)
    return wanted


def lacking_a_network_alone(runs: Iterable[str], folder: Path = paths.ROOT) -> list[str]:
    """Those of these runs whose settings, code and predictions are those of dvc.lock: at most the network is not here."""
    locked, changes = lock(folder), status(folder)
    lacking = []
    for name in runs:
        stage = f"{TRAIN}{name}"
        told = changes.get(stage, [])
        outs = {path for change in told if isinstance(change, dict) for path in change.get("changed outs", {})}
        if stage in locked and not differs(told) and outs <= {f"models/runs/{name}"}:
            lacking.append(name)
    return lacking


def differs(changes: list[Any]) -> bool:
    """Whether a stage's command, settings or files are others than those of dvc.lock; a file that is not here is none."""
    for change in changes:
        if not isinstance(change, dict):  # "changed command"
            return True
        # Of a file the state is one word, of params.yaml one for each key.
        states = change.get("changed deps", {}).values()
        if any(isinstance(state, dict) or state in ("modified", "new") for state in states):
            return True
    return False


def _is_lost(stage: dict[str, Any], folder: Path, cache: Path) -> bool:
    """An output is neither in its place nor in the cache."""
    for out in stage.get("outs", []):
        kept = cache / out["md5"][:2] / out["md5"][2:]
        if not (folder / out["path"]).exists() and not kept.exists():
            return True
    return False


def cache_folder(folder: Path = paths.ROOT) -> Path:
    """DVC's cache, wherever its configuration puts it: a relative `cache.dir` is relative to the file that sets it."""
    from dvc.repo import Repo  # 0.7 s

    with Repo(str(folder)) as repo:
        return Path(repo.cache.local_cache_dir)


def paths_in_cache(folder: Path) -> Path:
    """The folder of the DVC cache that holds files by their md5."""
    return cache_folder(folder) / "files" / "md5"
