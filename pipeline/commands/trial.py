"""One of two commits that train the same few runs: a worktree with its own code and settings, on generated radiographs."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline import dvc, workspaces
from pipeline.errors import ProjectError
from pipeline.files import write_text

Settings = dict[str, Any]

DATA_STAGES = ("ingest", "validate", "preprocess", "groups")
DATA = ("data/dataset.json", "data/arrays", "data/groups")  # what a training reads
TINY = {  # as few images as leave both classes among the validation patients; the smallest side all networks take
    "ingest": {"dataset": "phantom", "phantom": {"seed": 7, "train": 44, "val": 2, "test": 4}},
    "preprocess": {"image_size": 96},
}
SHORT = {"epochs": 3, "batch_size": 4}
PRECISIONS = ("float32", "bfloat16")
RENAMED_FILES = {"pictures.csv": "images.csv"}  # since 0.1.0
RENAMED_SETTINGS = {"plateau_floor": "min_learning_rate"}  # since 0.1.0
UNUSED_RATES = ("learning_rate", "finetune_learning_rate")  # `starting_rate` is one of them
RESUMED = "going on after epoch"  # what a training logs when it finds a checkpoint
THREADS = {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}  # sums depend on them
RUNS_OF = """
import dataclasses, json
from pipeline import settings
def plain(run):
    fields = run.model_dump(mode="json") if hasattr(run, "model_dump") else dataclasses.asdict(run)
    training = fields.pop("training", {})
    return {**fields, **training, "starting_rate": run.starting_rate}
print(json.dumps({name: plain(run) for name, run in settings.load().runs.items()}))
"""


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: what it is called, and its worktree."""

    label: str
    folder: Path

    def start(self, *arguments: str, **streams: Any) -> "subprocess.Popen[str]":
        """Start a Python of this environment in the worktree. It holds the lock too: it may outlive a killed command."""
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=self.folder, env=environment(), text=True, close_fds=False, **streams
        )

    def python(self, *arguments: str) -> str:
        """What a Python prints in the worktree; a `ProjectError` with its last line if it fails."""
        process = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        printed, told = process.communicate()
        if process.returncode != 0:
            raise ProjectError(f"{self.label}: {_last_line(told)}")
        return printed


def environment() -> dict[str, str]:
    """For both sides: the same threads, no GPU (its sums vary), and no folder of another project."""
    fixed = dvc.environment(**THREADS, CUDA_VISIBLE_DEVICES="-1", LOG_LEVEL="INFO")
    return {name: value for name, value in fixed.items() if name != "PIPELINE_ROOT"}


def resolve_runs(side: Side) -> dict[str, Settings]:
    """Every entry of `train.runs` as the side's own code understands it, flat, its keys by their present names.

    Of the two learning rates only the one that the run starts with is left.
    """
    runs = json.loads(side.python("-c", RUNS_OF))
    return {
        name: {RENAMED_SETTINGS.get(key, key): value for key, value in run.items() if key not in UNUSED_RATES}
        for name, run in runs.items()
    }


def trainings(chosen: list[str]) -> dict[str, tuple[str, Settings]]:
    """What is trained of these runs, by name: the run, and what is laid over its entry.

    The first is trained once more with all else as its entry has it: most runs keep their last epoch, not their best.
    """
    best = SHORT | {"keep": "best", "plateau_patience": 1}
    varied = {f"{run}-{kind}": (run, best | {"precision": kind}) for kind in PRECISIONS for run in chosen}
    return varied | {f"{chosen[0]}-own": (chosen[0], SHORT)}


def prepare(side: Side, chosen: list[str]) -> None:
    """Cut the worktree's settings down to these runs on generated radiographs, and make the data."""
    file = side.folder / "params.yaml"
    params = workspaces.merge(yaml.safe_load(file.read_text(encoding="utf-8")), TINY)
    entries = params["train"]["runs"]
    short = {name: entries[run] | shortened for name, (run, shortened) in trainings(chosen).items()}
    params["train"] |= {"runs": short, "planned": {}}
    write_text(file, yaml.safe_dump(params, sort_keys=False))
    for stage in DATA_STAGES:
        side.python("-m", f"pipeline.stages.{stage}")


def train_and_resume(side: Side, name: str) -> None:
    """Train a run, kill it after its first epoch, and start it again.

    Raises:
        ProjectError: it failed, or it was not resumed.
    """
    command = ["-m", "pipeline.stages.train", name]
    output = side.folder / ".cache" / f"{name}.log"
    output.parent.mkdir(exist_ok=True)
    with output.open("w+", encoding="utf-8") as stream:
        process = side.start(*command, stdout=stream, stderr=stream)
        while process.poll() is None and not list(_checkpoints(side, name)):
            time.sleep(0.02)
        process.kill()
        if process.wait() == 0:
            raise ProjectError(f"{side.label}: {name} ended before it could be killed; give it more epochs")
        if process.returncode == -signal.SIGKILL:
            process = side.start(*command, stdout=stream, stderr=stream)
            process.wait()
        stream.seek(0)
        told = stream.read()
    if process.returncode != 0:
        raise ProjectError(f"{side.label}: {name}: {_last_line(told)} (all of it in {output})")
    if RESUMED not in told:
        raise ProjectError(f"{side.label}: {name} began anew after it was killed (see {output})")
    for checkpoint in _checkpoints(side, name):  # three times the network
        shutil.rmtree(checkpoint.parent)


def _checkpoints(side: Side, name: str) -> Iterator[Path]:
    return side.folder.glob(f".cache/training/{name}-*/checkpoint.npz")


def predictions(side: Side, name: str) -> dict[str, str]:
    """The text files that a training wrote, by their present names."""
    folder = side.folder / "predictions" / name
    return {RENAMED_FILES.get(file.name, file.name): file.read_bytes().decode() for file in folder.iterdir()}


def training_data(side: Side) -> dict[str, bytes]:
    """Every file of data that a training may read, by its path."""
    files = (file for name in DATA for file in [side.folder / name, *(side.folder / name).glob("*")] if file.is_file())
    return {file.relative_to(side.folder).as_posix(): file.read_bytes() for file in files}


def rate_fell(side: Side, name: str) -> bool:
    """Whether a training lowered its learning rate."""
    rows = csv.DictReader(predictions(side, name)["history.csv"].splitlines())
    rates = [float(row["learning_rate"]) for row in rows]
    return rates[-1] < rates[0]


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it failed without a word"
