"""`make same-training BASE=<commit>`: does the committed code train, to the last bit, what BASE trained?

A few of the runs are trained by both, each in a worktree with its own code and settings, on generated radiographs: every
network and every recipe once, in float32 and in bfloat16, for three epochs, killed after the first and resumed. Weights,
history and predictions are compared. When all are equal, the trainings in dvc.lock are carried over to the committed code,
and none need be repeated. When one differs, dvc.lock stays as it is, and the differences are named.
"""

import argparse
import csv
import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline import dvc, paths, workspace
from pipeline.command import run as run_command
from pipeline.commands.carry_lock import carry
from pipeline.commands.comparison import compare_lines, compare_mappings, compare_weights
from pipeline.errors import ProjectError
from pipeline.files import write_text

log = logging.getLogger(__name__)

Settings = dict[str, Any]

NAME = "same-training"  # of the workspace that holds both worktrees
CODE = ("pipeline", "params.yaml", "dvc.yaml")
DATA_STAGES = ("ingest", "validate", "preprocess", "groups")
DATA = ("data/dataset.json", "data/arrays", "data/groups")  # what a training reads
TINY = {  # as few images as leave both classes among the validation patients; the smallest side all networks take
    "ingest": {"dataset": "phantom", "phantom": {"seed": 7, "train": 44, "val": 2, "test": 4}},
    "preprocess": {"image_size": 96},
}
SHORT = {"epochs": 3, "batch_size": 4}
VARIANTS = {
    "float32": SHORT | {"keep": "best", "plateau_patience": 1, "precision": "float32"},
    "bfloat16": SHORT | {"keep": "best", "plateau_patience": 1, "precision": "bfloat16"},
}
OWN = "own"  # the first run once more with all else as it stands in its line: most runs keep their last epoch
COMPARED = ("history.csv", "images.csv", "stress.csv")
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

    def python(self, *arguments: str) -> str:
        """What a Python of this environment prints in the worktree; a `ProjectError` with its last line if it fails."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ProjectError(f"{self.label}: {_last_line(done.stderr)}")
        return done.stdout


def main() -> None:
    """Compare, and unless told otherwise carry dvc.lock over."""
    parser = argparse.ArgumentParser(prog=f"python -m pipeline.commands.{NAME.replace('-', '_')}", description=__doc__)
    parser.add_argument("base", help="the commit that trained what dvc.lock has")
    parser.add_argument("stages", nargs="*", help="stages whose entries are carried over beside those of the trainings")
    parser.add_argument("--check", action="store_true", help="compare only; leave dvc.lock as it is")
    arguments = parser.parse_args()
    head = workspace.git("rev-parse", "HEAD")
    _expect_unchanged(head)
    workspace.remove(NAME)  # of a run that was killed
    base, new = (Side(label, paths.WORKSPACES / NAME / label) for label in ("base", "new"))
    workspace.add_worktree(base.folder, arguments.base)
    workspace.add_worktree(new.folder, head)
    common, fresh = _compare_settings(base, new), [] if arguments.check else _fresh(base)
    _compare_trainings(base, new, common)
    if not arguments.check:
        _expect_unchanged(head)
        _carry([name for name in common if name in fresh], base, arguments.stages)
    workspace.remove(NAME)


def environment() -> dict[str, str]:
    """For both sides: the same threads, no GPU (its sums vary), and no folder of another project."""
    fixed = dvc.environment(**THREADS, CUDA_VISIBLE_DEVICES="-1", LOG_LEVEL="INFO")
    return {name: value for name, value in fixed.items() if name != "PIPELINE_ROOT"}


def _expect_unchanged(commit: str) -> None:
    """A `ProjectError` unless the checkout has the code and the settings of this commit: those are compared."""
    changed = {*workspace.git("diff", "--name-only", commit, "--", *CODE).splitlines()}
    changed |= {*workspace.git("ls-files", "--others", "--exclude-standard", "--", *CODE).splitlines()}
    if changed:
        raise ProjectError(f"only what is committed can be compared; commit or put away: {', '.join(sorted(changed))}")


def _compare_settings(base: Side, new: Side) -> dict[str, Settings]:
    """The runs that both have, by name, with their settings; a `ProjectError` where these differ."""
    old, runs = resolve_runs(base), resolve_runs(new)
    common = {name: run for name, run in runs.items() if name in old}
    if not common:
        raise ProjectError("the two have no run in common: there is nothing to compare")
    found = {name: compare_mappings(old[name], run) for name, run in common.items()}
    _expect_none({name: told for name, told in found.items() if told}, len(common), "runs")
    return common


def resolve_runs(side: Side) -> dict[str, Settings]:
    """Every entry of `train.runs` as the side's own code understands it, flat, its keys by their present names.

    Of the two learning rates only the one that the run starts with is left.
    """
    runs = json.loads(side.python("-c", RUNS_OF))
    return {
        name: {RENAMED_SETTINGS.get(key, key): value for key, value in run.items() if key not in UNUSED_RATES}
        for name, run in runs.items()
    }


def covering(runs: Mapping[str, Settings]) -> list[str]:
    """Few of these runs, with every network and every recipe among them: the same few whenever the runs are the same."""
    chosen: list[str] = []

    def add(key: str, value: str) -> None:
        candidates = [name for name in runs if runs[name][key] == value]
        seen = {runs[name]["augmentation"] for name in chosen}
        chosen.append(next((name for name in candidates if runs[name]["augmentation"] not in seen), candidates[0]))

    for network in sorted({run["network"] for run in runs.values()}):
        add("network", network)
    for recipe in sorted({run["augmentation"] for run in runs.values()}):
        if recipe not in {runs[name]["augmentation"] for name in chosen}:
            add("augmentation", recipe)
    return chosen


def _compare_trainings(base: Side, new: Side, runs: Mapping[str, Settings]) -> None:
    """Train on both sides, and compare; a `ProjectError` that names every training that differs."""
    chosen = covering(runs)
    trainings = [f"{name}-{variant}" for variant in VARIANTS for name in chosen] + [f"{chosen[0]}-{OWN}"]
    found: dict[str, list[str]] = {}
    with ThreadPoolExecutor(2) as pool:
        log.info("generated radiographs, for %d trainings on either side", len(trainings))
        list(pool.map(lambda side: prepare(side, chosen), (base, new)))
        _expect_same_data(base, new)
        for place, name in enumerate(trainings, 1):
            started = time.monotonic()
            list(pool.map(lambda side, name=name: train_and_resume(side, name), (base, new)))  # type: ignore[misc]
            told = differences(base, new, name)
            if told:
                found[name] = told
            outcome = f"differs: {'; '.join(told)}" if told else "equal"
            log.info("%d of %d, %.0f s: %s %s", place, len(trainings), time.monotonic() - started, name, outcome)
    _expect_none(found, len(trainings), "trainings")
    if not any(rate_fell(base, name) for name in trainings):
        raise ProjectError("no training lowered its learning rate: its rule was not compared; try more epochs")


def prepare(side: Side, chosen: list[str]) -> None:
    """Cut the worktree's settings down to these runs on generated radiographs, and make the data."""
    file = side.folder / "params.yaml"
    params = workspace.merge(yaml.safe_load(file.read_text(encoding="utf-8")), TINY)
    lines = params["train"]["runs"]
    runs = {f"{name}-{variant}": lines[name] | cut for name in chosen for variant, cut in VARIANTS.items()}
    params["train"] |= {"runs": runs | {f"{chosen[0]}-{OWN}": lines[chosen[0]] | SHORT}, "planned": {}}
    write_text(file, yaml.safe_dump(params, sort_keys=False))
    for stage in DATA_STAGES:
        side.python("-m", f"pipeline.stages.{stage}")


def train_and_resume(side: Side, name: str) -> None:
    """Train a run, kill it after its first epoch, and start it again.

    Raises:
        ProjectError: it failed, or it was not resumed.
    """
    command = [sys.executable, "-m", "pipeline.stages.train", name]
    output = side.folder / ".cache" / f"{name}.log"
    output.parent.mkdir(exist_ok=True)
    with output.open("w+", encoding="utf-8") as stream:
        process = subprocess.Popen(command, cwd=side.folder, env=environment(), stdout=stream, stderr=stream)
        while process.poll() is None and not list(_checkpoints(side, name)):
            time.sleep(0.02)
        process.kill()
        if process.wait() == 0:
            raise ProjectError(f"{side.label}: {name} ended before it could be killed; give it more epochs")
        if process.returncode == -signal.SIGKILL:
            process = subprocess.Popen(command, cwd=side.folder, env=environment(), stdout=stream, stderr=stream)
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


def differences(base: Side, new: Side, name: str) -> list[str]:
    """Where the outputs of a training differ, a few words each; empty when all are equal bit by bit."""
    weights = Path("models") / "runs" / name / "network.weights.h5"
    told = compare_weights(base.folder / weights, new.folder / weights)
    old, now = (_predictions(side, name) for side in (base, new))
    for file in COMPARED:
        if file in old and file in now:
            told += [f"{file} {place}" for place in compare_lines(old[file], now[file])]
        elif file != "stress.csv":  # since 0.1.0 a stage of its own writes it
            told.append(f"{file} is not on both sides")
    facts = [json.loads(files["run.json"]) for files in (old, now)]
    return told + [f"run.json {place}" for place in compare_mappings(*facts)]


def _predictions(side: Side, name: str) -> dict[str, str]:
    """The text files that a training wrote, by their present names."""
    folder = side.folder / "predictions" / name
    return {RENAMED_FILES.get(file.name, file.name): file.read_text(encoding="utf-8") for file in folder.iterdir()}


def _expect_same_data(base: Side, new: Side) -> None:
    """A `ProjectError` where the two would train on other data: then the trainings would say nothing."""
    old, now = _data(base), _data(new)
    other = sorted(name for name in {*old, *now} if old.get(name) != now.get(name))
    if other:
        raise ProjectError(
            f"the stages before the training write other data: {', '.join(other)}; dvc.lock is untouched"
        )


def _data(side: Side) -> dict[str, bytes]:
    files = (file for name in DATA for file in [side.folder / name, *(side.folder / name).glob("*")] if file.is_file())
    return {file.relative_to(side.folder).as_posix(): file.read_bytes() for file in files}


def rate_fell(side: Side, name: str) -> bool:
    """Whether a training lowered its learning rate."""
    rows = csv.DictReader(_predictions(side, name)["history.csv"].splitlines())
    rates = [float(row["learning_rate"]) for row in rows]
    return rates[-1] < rates[0]


def _expect_none(found: dict[str, list[str]], total: int, what: str) -> None:
    for name, places in found.items():
        log.warning("%s: %s", name, "; ".join(places))
    if found:
        raise ProjectError(f"{len(found)} of {total} {what} differ, and dvc.lock is untouched: {', '.join(found)}")


def _fresh(base: Side) -> list[str]:
    """The runs that BASE trained: its dvc.lock has them with its own code and settings."""
    return dvc.lacking_a_network_alone(resolve_runs(base), base.folder)


def _carry(runs: list[str], base: Side, stages: list[str]) -> None:
    """Carry over those trainings whose entries are still BASE's, and the stages that were named."""
    here, there = dvc.lock(), dvc.lock(base.folder)
    trainings = [stage for stage in (f"{dvc.TRAIN}{name}" for name in runs) if here.get(stage) == there[stage]]
    carried = carry([*trainings, *stages])
    log.info("dvc.lock: %d entries carried over: commit it", len(carried))


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it failed without a word"


if __name__ == "__main__":
    run_command(NAME, main)
