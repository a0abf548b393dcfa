"""`make study JOBS=n`: the table of runs, n trainings at a time, then the rest of the graph.

`dvc repro` is serial. Several `dvc --wait-for-lock repro --single-item` at once leave one whole dvc.lock.
"""

import argparse
import logging
import os
import sys
import time
from concurrent.futures import as_completed

from pipeline import dvc, gpu, paths, settings
from pipeline.command import run
from pipeline.commands.repro import check_inputs, forecast
from pipeline.commands.workers import Workers
from pipeline.errors import ProjectError

log = logging.getLogger(__name__)

DATA_STAGES = ("ingest", "validate", "explore", "preprocess", "groups")
LATER_STAGES = ("baseline", "evaluate", "compare", "package", "explain", "report")
TRACK = [sys.executable, "-m", "pipeline.tracking.publish"]
LOGS = paths.CACHE / "study"


def main() -> None:
    """Data, then trainings side by side, then everything that reads predictions."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.commands.study", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("runs", nargs="*", help="keys of train.runs; all of them by default")
    arguments = parser.parse_args()
    chosen = settings.load()
    unknown = [name for name in arguments.runs if name not in chosen.runs]
    if unknown:
        raise ProjectError(f"not in train.runs of params.yaml: {', '.join(unknown)}")
    if arguments.jobs < 1:
        raise ProjectError(f"JOBS must be at least 1, not {arguments.jobs}")
    gpus = gpu.found()
    if 0 < len(gpus) < arguments.jobs:
        raise ProjectError(f"JOBS={arguments.jobs}, and a training needs a GPU of its own: here are {len(gpus)}")
    gpu.warn_of_unseen()
    check_inputs(chosen, arguments.runs or list(chosen.runs))
    LOGS.mkdir(parents=True, exist_ok=True)
    try:
        with Workers(arguments.jobs) as workers:
            problems = _study(chosen, arguments.runs, arguments.jobs, workers)
    except KeyboardInterrupt:
        raise ProjectError("ended with all that it had started; the same command goes on") from None
    if problems:
        raise ProjectError(f"failed: {', '.join(problems)}; everything else is done")


def _study(chosen: settings.Settings, named: list[str], jobs: int, workers: Workers) -> list[str]:
    """All of it; returns what failed on the way, each with the place of its message."""
    broken = workers.submit(_reproduce, DATA_STAGES, workers).result()
    if broken:
        raise ProjectError(f"stage {broken} failed (its message is above); no training was started")
    failed = _train_all(chosen, _trainings(chosen, named), jobs, workers)
    broken = workers.submit(_reproduce, LATER_STAGES, workers).result()
    # The metrics and curves of every run; where the server is down, a warning and no failure.
    if workers.submit(workers.run, TRACK, dvc.environment()).result():
        log.warning("not all is in MLflow (its message is above); `make track` makes up for it")
    problems = [f"{name} (see {LOGS / name}.log)" for name in failed]
    if broken:
        problems.append(f"stage {broken} (its message is above; what comes after it did not run)")
    return problems


def _train_all(chosen: settings.Settings, todo: list[str], jobs: int, workers: Workers) -> list[str]:
    """Train these runs side by side; returns those that failed."""
    log.info("%s, %d at a time; logs in %s", forecast(chosen, todo), jobs, LOGS)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    started = time.monotonic()
    failed = []
    trainings = {workers.submit(_train, name, threads, workers): name for name in todo}
    for place, training in enumerate(as_completed(trainings), 1):
        name = trainings[training]
        log.info("%d of %d: %s %s", place, len(todo), name, "failed" if training.result() else "done")
        if training.result():
            failed.append(name)
    log.info("%d trainings in %.1f minutes", len(todo), (time.monotonic() - started) / 60)
    return failed


def _trainings(chosen: settings.Settings, named: list[str]) -> list[str]:
    """What is to be trained; a run of which the network alone is not here is trained again only if it is named."""
    todo = dvc.trainings_to_run(chosen.runs)
    if named:
        return [name for name in todo if name in named]
    done = dvc.lacking_a_network_alone(todo)
    if done:
        log.info("done, though their networks are not here: %s; RUNS= trains them again", ", ".join(done))
    return [name for name in todo if name not in done]


def _train(name: str, threads: int, workers: Workers) -> int:
    """Train one run with its share of the cores and a GPU of its own, output to its log; returns DVC's exit status."""
    log_file = LOGS / f"{name}.log"
    shares = {"TF_NUM_INTRAOP_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    command = dvc.command("--wait-for-lock", "repro", "--single-item", *(f"{stage}{name}" for stage in dvc.OF_A_RUN))
    with log_file.open("w", encoding="utf-8") as stream:
        try:
            with gpu.one() as visible:
                code = workers.run(command, dvc.environment(**shares, **visible), stream)
        except ProjectError as error:
            stream.write(f"study: {error}\n")
            return 1
        if code == 0:
            workers.run(TRACK, dvc.environment(), stream)
    return code


def _reproduce(stages: tuple[str, ...], workers: Workers) -> str | None:
    """Run stages one by one; returns the first that failed: those after it would lose their outputs for nothing."""
    for stage in stages:
        command = dvc.command("--wait-for-lock", "repro", "--single-item", stage)
        if workers.run(command, dvc.environment()) != 0:
            return stage
    return None


if __name__ == "__main__":
    run("study", main)
