"""`make same-training BASE=<commit>`: does the committed code train, to the last bit, what BASE trained?

A few of the runs are trained by both, each in a worktree with its own code and settings, on generated radiographs: every
network and every recipe once, in float32 and in bfloat16, for three epochs, killed after the first and resumed. Weights,
history and predictions are compared. When all are equal, the trainings in dvc.lock are carried over to the committed code,
and none need be repeated. When one differs, dvc.lock stays as it is, and the differences are named.
"""

import argparse
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pipeline import dvc, git, paths, workspaces
from pipeline.command import run as run_command
from pipeline.commands.carry_lock import carry
from pipeline.commands.comparison import compare_lines, compare_mappings, compare_weights
from pipeline.commands.trial import (
    Settings,
    Side,
    predictions,
    prepare,
    rate_fell,
    resolve_runs,
    train_and_resume,
    training_data,
    trainings,
)
from pipeline.errors import ProjectError

log = logging.getLogger(__name__)

NAME = "same-training"  # of the workspace that holds both worktrees
CODE = ("pipeline", "params.yaml", "dvc.yaml")
COMPARED = ("history.csv", "images.csv", "stress.csv")


def main() -> None:
    """Compare, and unless told otherwise carry dvc.lock over."""
    parser = argparse.ArgumentParser(prog=f"python -m pipeline.commands.{NAME.replace('-', '_')}", description=__doc__)
    parser.add_argument("base", help="the commit that trained what dvc.lock has")
    parser.add_argument("stages", nargs="*", help="stages whose entries are carried over beside those of the trainings")
    parser.add_argument("--check", action="store_true", help="compare only; leave dvc.lock as it is")
    arguments = parser.parse_args()
    head = git.output("rev-parse", "HEAD").strip()
    _expect_unchanged(head)
    with _alone():
        workspaces.remove(NAME)  # of a command that was killed
        base, new = (Side(label, paths.WORKSPACES / NAME / label) for label in ("base", "new"))
        workspaces.add_worktree(base.folder, arguments.base)
        workspaces.add_worktree(new.folder, head)
        common, fresh = _compare_settings(base, new), [] if arguments.check else _fresh(base)
        _compare_trainings(base, new, common)
        if not arguments.check:
            _expect_unchanged(head)
            _carry([name for name in common if name in fresh], base, arguments.stages)
        workspaces.remove(NAME)


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other such command, and nothing that a killed one had started, works in this checkout."""
    paths.WORKSPACES.mkdir(exist_ok=True)
    with (paths.WORKSPACES / f".{NAME}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for the end of another comparison in this checkout")
            fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock.fileno(), True)
        yield


def _expect_unchanged(commit: str) -> None:
    """A `ProjectError` unless the checkout has the code and the settings of this commit: those are compared."""
    changed = {*git.output("diff", "--name-only", commit, "--", *CODE).splitlines()}
    changed |= {*git.output("ls-files", "--others", "--exclude-standard", "--", *CODE).splitlines()}
    if changed:
        raise ProjectError(f"only what is committed can be compared; commit or put away: {', '.join(sorted(changed))}")


def _compare_settings(base: Side, new: Side) -> dict[str, Settings]:
    """The runs that both have, by name, with their settings; a `ProjectError` where these differ."""
    old, runs = resolve_runs(base), resolve_runs(new)
    common = {name: run for name, run in runs.items() if name in old}
    if not common:
        raise ProjectError("the two have no run in common: there is nothing to compare")
    unequal = {name: compare_mappings(old[name], run) for name, run in common.items()}
    _expect_none({name: told for name, told in unequal.items() if told}, len(common), "runs")
    return common


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
    names = trainings(chosen)
    unequal: dict[str, list[str]] = {}
    with ThreadPoolExecutor(2) as pool:
        log.info("generated radiographs, for %d trainings on either side", len(names))
        list(pool.map(lambda side: prepare(side, chosen), (base, new)))
        _expect_same_data(base, new)
        for place, name in enumerate(names, 1):
            started = time.monotonic()
            list(pool.map(lambda side, name=name: train_and_resume(side, name), (base, new)))  # type: ignore[misc]
            told = differences(base, new, name)
            if told:
                unequal[name] = told
            outcome = f"differs: {'; '.join(told)}" if told else "equal"
            log.info("%d of %d, %.0f s: %s %s", place, len(names), time.monotonic() - started, name, outcome)
    _expect_none(unequal, len(names), "trainings")
    if not any(rate_fell(base, name) for name in names):
        raise ProjectError("no training lowered its learning rate: its rule was not compared; try more epochs")


def differences(base: Side, new: Side, name: str) -> list[str]:
    """Where the outputs of a training differ, a few words each; empty when all are equal bit by bit."""
    weights = Path("models") / "runs" / name / "network.weights.h5"
    told = compare_weights(base.folder / weights, new.folder / weights)
    old, now = (predictions(side, name) for side in (base, new))
    for file in COMPARED:
        if file in old and file in now:
            told += [f"{file} {place}" for place in compare_lines(old[file], now[file])]
        elif file != "stress.csv":  # since 0.1.0 a stage of its own writes it
            told.append(f"{file} is not on both sides")
    facts = [json.loads(files["run.json"]) for files in (old, now)]
    return told + [f"run.json {place}" for place in compare_mappings(*facts)]


def _expect_same_data(base: Side, new: Side) -> None:
    """A `ProjectError` where the two would train on other data: then the trainings would say nothing."""
    old, now = training_data(base), training_data(new)
    other = sorted(name for name in {*old, *now} if old.get(name) != now.get(name))
    if other:
        raise ProjectError(
            f"the stages before the training write other data: {', '.join(other)}; dvc.lock is untouched"
        )


def _expect_none(unequal: dict[str, list[str]], total: int, what: str) -> None:
    for name, places in unequal.items():
        log.warning("%s: %s", name, "; ".join(places))
    if unequal:
        raise ProjectError(f"{len(unequal)} of {total} {what} differ, and dvc.lock is untouched: {', '.join(unequal)}")


def _fresh(base: Side) -> list[str]:
    """The runs that BASE trained: its dvc.lock has them with its own code and settings."""
    runs = resolve_runs(base)
    fresh = dvc.lacking_a_network_alone(runs, base.folder)
    if stale := [name for name in runs if name not in fresh]:
        log.warning("stale at BASE, and so not carried over: %s", ", ".join(stale))
    return fresh


def _carry(runs: list[str], base: Side, stages: list[str]) -> None:
    """Carry over those trainings whose entries are still BASE's, and the stages that were named."""
    here, there = dvc.lock(), dvc.lock(base.folder)
    ours = [stage for stage in (f"{dvc.TRAIN}{name}" for name in runs) if here.get(stage) == there[stage]]
    carried = carry([*ours, *stages])
    log.info("carried over in dvc.lock, to be committed: %d of its entries", len(carried))


if __name__ == "__main__":
    run_command(NAME, main)
