"""The whole graph on toy settings, and what tests of it ask: what would run, what is there, who lives."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from pipeline import dvc

RAW = {"group": "raw", "augmentation": "none", "seed": 0, "weights": "random"}
RUNS = {
    "custom_cnn-raw-0": RAW | {"network": "custom_cnn", "epochs": 8},
    "custom_cnn-balanced-0": RAW
    | {"network": "custom_cnn", "group": "balanced", "augmentation": "geometric", "epochs": 8},
    "vgg16-raw-0": RAW | {"network": "vgg16", "epochs": 1},
}
OVERLAY = {
    "ingest": {"dataset": "phantom", "phantom": {"train": 90, "val": 6, "test": 30}},
    "preprocess": {"image_size": 94},
    "train": {"common": {"epochs": 1, "batch_size": 4}, "runs": RUNS, "planned": {}},
    "evaluate": {"resamples": 100},
}


def environment() -> dict[str, str]:
    """The environment of DVC, without what names another project's folders."""
    return {name: value for name, value in dvc.environment().items() if name not in ("CXR_DATA", "PIPELINE_ROOT")}


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run DVC there."""
    return subprocess.run(
        dvc.command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project there, by the code that lies there."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def stage(folder: Path, name: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a stage by itself, as DVC would."""
    return subprocess.Popen(
        [sys.executable, "-m", f"pipeline.stages.{name}", *arguments],
        cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def digests(*folders: Path) -> dict[str, str]:
    """SHA-256 of every file below the folders."""
    return {
        str(file.relative_to(folder.parent)): hashlib.sha256(file.read_bytes()).hexdigest()
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def would_run(folder: Path, *options: str) -> set[str]:
    """The stages that `dvc repro` would start. (`repro --dry` ends in an error where a new run's network is not there yet.)"""
    missing = {"deleted", "not in cache"} if "--allow-missing" in options else set()
    return {name for name, changes in dvc.status(folder).items() if any(_differs(entry, missing) for entry in changes)}


def _differs(change: Any, missing: set[str]) -> bool:
    if isinstance(change, str):
        return True
    states = [state for changed in change.values() for state in changed.values()]
    return any(
        bool(set(state.values()) - missing) if isinstance(state, dict) else state not in missing for state in states
    )


def change(folder: Path, *path_and_value: Any) -> None:
    """Set one key of params.yaml."""
    *path, value = path_and_value
    file = folder / "params.yaml"
    params = yaml.safe_load(file.read_text())
    place = params
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    file.write_text(yaml.safe_dump(params, sort_keys=False))


def wait_for(condition: Callable[[], Any], seconds: float = 180) -> None:
    """Return as soon as the condition holds."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "what was waited for did not come"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether the process still runs: it is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    done = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True, check=False)
    return [int(word) for word in done.stdout.split()]
