"""`make study JOBS=n`: the table of runs, n trainings at a time, then the rest of the graph.

`dvc repro` is serial. Several `dvc --wait-for-lock repro --single-item` at once leave one whole dvc.lock.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from pipeline import dvc, paths, settings
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.repro import check_inputs, forecast

log = logging.getLogger(__name__)

DATA_STAGES = ("ingest", "validate", "explore", "preprocess", "groups")
LATER_STAGES = ("floor", "evaluate", "compare", "package", "explain", "report")
LOGS = paths.CACHE / "study"


def train_one(name: str, threads: int) -> int:
    """Train one run with its share of the cores, output to its log; returns DVC's exit status."""
    log_file = LOGS / f"{name}.log"
    shares = dvc.environment(TF_NUM_INTRAOP_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    with log_file.open("w", encoding="utf-8") as stream:
        arguments = dvc.command("--wait-for-lock", "repro", "--single-item", f"{dvc.TRAIN}{name}")
        code = subprocess.run(
            arguments, cwd=paths.ROOT, env=shares, stdout=stream, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code == 0:
        _track(log_file)
    return code


def _track(log_file: Path) -> None:
    """Publish what there is; a tracking server that is down fails nothing, the next call makes up for it."""
    with log_file.open("a", encoding="utf-8") as stream:
        subprocess.run(
            [sys.executable, "-m", "pipeline.registry.tracking"],
            cwd=paths.ROOT, stdout=stream, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip


def _reproduce(stages: tuple[str, ...]) -> str | None:
    """Run stages one by one; returns the first that failed: those after it would lose their outputs for nothing."""
    for stage in stages:
        if dvc.call("--wait-for-lock", "repro", "--single-item", stage) != 0:
            return stage
    return None


def main() -> None:
    """Data, then trainings side by side, then everything that reads predictions."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.study", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("runs", nargs="*", help="keys of train.runs; all of them by default")
    arguments = parser.parse_args()
    chosen = settings.load()
    unknown = [name for name in arguments.runs if name not in chosen.runs]
    if unknown:
        raise ProjectError(f"not in train.runs of params.yaml: {', '.join(unknown)}")
    if arguments.jobs < 1:
        raise ProjectError(f"JOBS must be at least 1, not {arguments.jobs}")
    names = arguments.runs or list(chosen.runs)
    check_inputs(chosen, names)
    LOGS.mkdir(parents=True, exist_ok=True)
    broken = _reproduce(DATA_STAGES)
    if broken:
        raise ProjectError(f"stage {broken} failed (its message is above); no training was started")
    todo = [name for name in dvc.trainings_to_run(chosen.runs) if name in names]
    log.info("%s, %d at a time; logs in %s", forecast(chosen, todo), arguments.jobs, LOGS)
    threads = max(1, (os.cpu_count() or 1) // arguments.jobs)
    started = time.monotonic()
    failed = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        trainings = {pool.submit(train_one, name, threads): name for name in todo}
        for place, training in enumerate(as_completed(trainings), 1):
            name = trainings[training]
            log.info("%d of %d: %s %s", place, len(todo), name, "failed" if training.result() else "done")
            if training.result():
                failed.append(name)
    log.info("%d trainings in %.1f minutes", len(todo), (time.monotonic() - started) / 60)
    broken = _reproduce(LATER_STAGES)
    _track(LOGS / "track.log")  # the figures and curves of every run
    problems = [f"{name} (see {LOGS / name}.log)" for name in failed]
    if broken:
        problems.append(f"stage {broken} (its message is above; what comes after it did not run)")
    if problems:
        raise ProjectError(f"failed: {', '.join(problems)}; everything else is done")


if __name__ == "__main__":
    run("study", main)
