"""Retraining on several machines, shown on one: CeleryExecutor on Redis and PostgreSQL, two workers in two checkouts.

    .venv-airflow/bin/python scripts/cluster.py FOLDER PARAMS [--kill] [--outage] [--serial] [--page FILE]

Starts Debian's redis-server and postgresql, an S3 API (moto's server) and every part of Airflow on loopback, runs the
DAG once with PARAMS (JSON), prints what each worker trained, and ends everything that it started. With --kill the second
worker is killed in the middle of a training and started again, with --outage the database goes away for a while. With
--serial the same work is then done once more, one after the other without Airflow, and both dvc.lock are compared. Ends
with status 1 if a training was lost or begun more often than it should. Everything lies in FOLDER.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from engines import DAG, RUN, Cluster, end, say, tree, wait

STEPS = (
    "plan", "run_stages ingest", "run_stages validate", "prepare", "train", "gather_runs",
    "run_stages baseline evaluate compare", "run_stages package",
    "gate", "promote", "run_stages explore explain report",
)  # fmt: skip
NOTHING_TO_DO = 99  # as the gate ends when it rejects
PATIENCE = 7200  # seconds for a whole run
OUTAGE = 30  # seconds


def main() -> None:
    """Run the cluster once, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("params", help="JSON, as for the DAG")
    parser.add_argument("--kill", action="store_true", help="kill the second worker in the middle of a training")
    parser.add_argument("--outage", action="store_true", help="take the database away for 30 seconds")
    parser.add_argument("--serial", action="store_true", help="do it again without Airflow, and compare dvc.lock")
    parser.add_argument("--page", type=Path, help="write the outcome as Markdown")
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends too
    cluster = Cluster(folder)
    killed = None
    try:
        say("starting Redis, PostgreSQL, S3, Airflow, two workers")
        cluster.start()
        wait(lambda: cluster.ask(f"SELECT 1 FROM dag WHERE dag_id = '{DAG}'"), "the DAG", 900)
        cluster.airflow("dags", "trigger", DAG, "--run-id", RUN, "--conf", chosen.params)
        if chosen.outage:
            take_the_database_away(cluster)
        if chosen.kill:
            killed = kill_in_the_middle(cluster)
        wait(lambda: cluster.revive() or cluster.state() in ("success", "failed"), "the run to end", PATIENCE)
        state, trainings = cluster.state(), cluster.trainings()
    finally:
        cluster.stop()
    lines = report(folder, trainings, killed)
    for line in lines:
        say(line)
    if state != "success":
        sys.exit(f"cluster: the run ended as {state}; the tasks' logs are in {folder / 'airflow' / 'logs'}")
    lines.append(check(starts(folder), [row[0] for row in trainings], killed))
    say(lines[-1])
    if chosen.serial:
        lines += compare(cluster, chosen.params, None if killed else wall_of(trainings))
    if chosen.page:
        write_page(chosen.page, chosen.params, lines)


def take_the_database_away(cluster: Cluster) -> None:
    """Stop PostgreSQL for 30 seconds while the first tasks run."""
    wait(lambda: cluster.ask("SELECT 1 FROM task_instance WHERE state = 'running'"), "a running task", PATIENCE)
    end(cluster.postgres)
    say("the database is away")
    time.sleep(OUTAGE)
    cluster.start_postgres()
    say(f"the database is back after {OUTAGE} s")


def kill_in_the_middle(cluster: Cluster) -> str:
    """Kill the second worker, and all that it runs, after an epoch of its training; return the training's name."""
    checkout = cluster.folder / "worker-2"

    def trains() -> str | None:
        cluster.revive()
        if not any(checkout.glob(".work/*/.cache/training/*/checkpoint.npz")):
            return None
        commands = " ".join(_command_line(pid) for pid in tree(cluster.parts["worker-2"][2].pid))
        match = re.search(r"pipeline\.stages\.train ([\w-]+)", commands)
        return match[1] if match else None

    name = wait(trains, "an epoch on worker-2", PATIENCE)
    worker = cluster.parts["worker-2"][2]
    family = tree(worker.pid)
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    worker.wait()
    say(f"killed worker-2 and its {len(family) - 1} processes in the middle of {name}")
    return name


def report(folder: Path, trainings: list[Any], killed: str | None) -> list[str]:
    """One line a training: where it ended well, how often it was begun, how long its last try took; then all together."""
    begun, where = starts(folder), places(folder)
    lines = [f"{'training':28} {'state':9} {'worker':9} {'begun':>5} {'seconds':>8}"]
    for name, state, _, first, last in trainings:
        seconds = (last - first).total_seconds() if first and last else 0.0
        mark = "  killed once" if name == killed else ""
        lines.append(f"{name:28} {state:9} {where.get(name, '?'):9} {begun[name]:5} {seconds:8.1f}{mark}")
    lines.append(f"{len(trainings)} trainings in {wall_of(trainings):.1f} s of wall time")
    return lines


def wall_of(trainings: list[Any]) -> float:
    """Seconds from the first training's start to the last one's end, all tries counted where none was repeated."""
    begun = [row[3] for row in trainings if row[3]]
    ended = [row[4] for row in trainings if row[4]]
    return (max(ended) - min(begun)).total_seconds() if ended else 0.0


def check(begun: Counter[str], names: list[str], killed: str | None) -> str:
    """None lost, none begun twice but the killed one: the line that says so."""
    wanted = {name: 2 if name == killed else 1 for name in names}
    if dict(begun) != wanted:
        sys.exit(f"cluster: trainings were begun {dict(begun)} times, not {wanted}")
    return "none was lost, and none but a killed one was begun twice"


def starts(folder: Path) -> Counter[str]:
    """How often each training was begun, by the tasks' logs."""
    counts: Counter[str] = Counter()
    for log in (folder / "airflow" / "logs").rglob("*.log"):
        text = log.read_text(encoding="utf-8", errors="replace")
        counts.update(re.findall(r"> python -m pipeline\.stages\.train ([\w-]+)", text))
    return counts


def places(folder: Path) -> dict[str, str]:
    """The worker that trained each run: the second one's lock has what it trained itself, the first one's has all."""
    ours, theirs = (_lock(folder / name) for name in ("worker-1", "worker-2"))
    trained = {stage.removeprefix("train@"): stage for stage in ours if stage.startswith("train@")}
    return {name: "worker-2" if theirs.get(stage) == ours[stage] else "worker-1" for name, stage in trained.items()}


def compare(cluster: Cluster, params: str, wall: float | None) -> list[str]:
    """Do the same one after the other in a third checkout, with no remote and a cache of its own; compare dvc.lock."""
    say("the same without Airflow, one after the other")
    checkout = cluster.clone("serial")
    environ = {**cluster.environ, "RETRAIN_PARAMS": params, "AIRFLOW_CTX_DAG_RUN_ID": RUN}
    del environ["RETRAIN_REMOTE"]
    seconds, passed = 0.0, True
    for step in STEPS:
        if step == "promote" and not passed:  # as Airflow skips it; the report says who the champion is
            continue
        if step != "train":
            passed = _command(checkout, step, environ)
            continue
        params_file = next(checkout.glob(".work/*/params.yaml"))
        for name in yaml.safe_load(params_file.read_text(encoding="utf-8"))["train"]["runs"]:
            started = time.monotonic()
            _command(checkout, f"run_stages train@{name} stress@{name}", environ)
            seconds += time.monotonic() - started
    ours, theirs = (_lock(cluster.folder / name) for name in ("worker-1", "serial"))
    different = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
    if different:
        sys.exit(f"cluster: dvc.lock differs from the serial one in {', '.join(different)}")
    lines = [f"dvc.lock equals the serial one, as parsed YAML, in all {len(ours)} stages"]
    if wall is not None:  # a killed worker makes no fair race
        lines.append(
            f"one after the other, without Airflow: {seconds:.1f} s; two workers took {wall / seconds:.2f} of that"
        )
    for line in lines:
        say(line)
    return lines


def write_page(page: Path, params: str, lines: list[str]) -> None:
    """The outcome as a page of docs/."""
    settings = json.dumps(json.loads(params), indent=2)
    text = [
        "# A retraining on two workers",
        "Written by `scripts/cluster.py`: Airflow under CeleryExecutor on Redis and PostgreSQL, an S3 API as remote, two\n"
        "workers of one thread each in two checkouts, all on one machine. The images are generated: nothing here is about\n"
        "children.",
        "```\n" + "\n".join(line.rstrip() for line in lines) + "\n```",
        f"Asked for with\n\n```json\n{settings}\n```",
    ]
    page.write_text("\n\n".join(text) + "\n", encoding="utf-8")


def _lock(checkout: Path) -> dict[str, Any]:
    (lock,) = checkout.glob(".work/*/dvc.lock")
    return yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]


def _command(checkout: Path, step: str, environ: dict[str, str]) -> bool:
    """Run one command; False when it says that there was nothing to do, as the gate does when it rejects."""
    verb, *stages = step.split()
    command = [".venv/bin/python", "-m", "pipeline.retraining", verb, *stages]
    done = subprocess.run(command, cwd=checkout, env=environ, capture_output=True, text=True, check=False)
    if done.returncode not in (0, NOTHING_TO_DO):
        sys.exit(f"cluster: {step}, serial: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return done.returncode == 0


def _command_line(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
