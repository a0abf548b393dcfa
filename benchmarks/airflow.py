"""What Airflow adds to the wall time of the same work, and what a second worker takes off it.

First `dvc repro` alone and the same stages as tasks of the DAG, at the same time and with one thread each, so that both
meet the same machine; in clones of this project with caches of their own, so that both compute everything. The tasks
that plain DVC has no stage for (detect_new_data, plan, gate, promotion, smoke test, tracking) are left out of both. Then
scripts/cluster.py: the mapped trainings on two workers of one thread each, and the same trainings one after the other.

`python -m benchmarks.airflow [overhead|workers]`: one of the two, or both, on generated radiographs; some 12 minutes each
on two free cores. Needs two cores; the workers need redis-server and postgresql. Exit status 1 past a limit; what was
measured is kept either way.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.support.record import hold, keep, row

ROOT = Path(__file__).resolve().parents[1]
FIRST, LAST = "ingest", "package"
EPOCHS = {"overhead": 24, "workers": 12}
RUNS = 4
LIMITS = {"overhead": 1.15, "workers": 0.65}  # of the peer's time, at most
ENOUGH = 600  # seconds of work, so that what Airflow adds to a task is measured on tasks that take a while
THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")


def main() -> None:
    """Print one table, and keep it."""
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("this benchmark compares two things at once and needs two cores")
    criteria = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as a user of its own where this runs as root
        for part, work in (("overhead", overhead), ("workers", workers)):
            if not sys.argv[1:] or part in sys.argv[1:]:
                result = work(folder)
                less = 100 * (result["here"] / result["peer"] - 1)
                print(
                    f"{result['what']}: {result['here']:.1f} s; {result['beside']}: {result['peer']:.1f} s; {less:+.1f} %"
                )
                keep(f"airflow-{part}", [result])
                criteria[f"{part}: {LIMITS[part]} of the time"] = result["here"] <= LIMITS[part] * result["peer"]
                if part == "overhead":
                    criteria[f"{part}: {ENOUGH} s of work"] = min(result["here"], result["peer"]) > ENOUGH
    hold(criteria)


def overhead(folder: Path) -> dict[str, Any]:
    """The same work as tasks of the DAG and under plain DVC, side by side."""
    epochs, runs = EPOCHS["overhead"], RUNS
    params = json.dumps(request(epochs, runs))
    with ThreadPoolExecutor() as both:
        alone = both.submit(with_dvc, clone(folder / "plain"), params)
        scheduled = both.submit(with_airflow, clone(folder / "airflow"), params)
        work = f"{runs} trainings of {epochs} epochs and every stage around them, one thread"
        return row(f"{work}, as tasks of Airflow", "s", scheduled.result(), alone.result(), "`dvc repro`")


def workers(folder: Path) -> dict[str, Any]:
    """Trainings mapped over two workers, and one after the other."""
    epochs = EPOCHS["workers"]
    mapped, serial = with_workers(folder / "cluster", json.dumps(request(epochs, RUNS)))
    return row(
        f"{RUNS} trainings of {epochs} epochs in float32, mapped over two workers", "s", mapped, serial, "in a row"
    )


def request(epochs: int, runs: int) -> dict[str, object]:
    """Parameters of the DAG: so many seeds of the small network on phantoms.

    In float32, which is bound by arithmetic: bfloat16 on AMX is bound by the memory that the cores share, and two at once
    then measure the memory, not the workers.
    """
    line = {"network": "custom_cnn", "group": "augmented", "augmentation": "geometric", "weights": "random"}
    table = {f"custom_cnn-augmented-{seed}": line | {"seed": seed} for seed in range(runs)}
    train = {"common": {"precision": "float32"}, "runs": table}
    return {"epochs": epochs, "settings": {"ingest": {"dataset": "phantom"}, "train": train}}


def clone(folder: Path) -> Path:
    """The project as committed, with both environments."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    for name in (".venv", ".venv-airflow"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def with_dvc(project: Path, params: str) -> float:
    """Seconds of `dvc repro` in a workspace made as the DAG makes one."""
    environ = {**os.environ, **THREAD, "AIRFLOW_CTX_DAG_RUN_ID": "plain", "RETRAIN_PARAMS": params}
    environ["PATH"] = f"{project / '.venv' / 'bin'}{os.pathsep}{environ['PATH']}"
    _run([".venv/bin/python", "-m", "pipeline.retraining", "plan"], project, environ)
    (workspace,) = project.glob(".work/retrain-*/")
    started = time.monotonic()
    _run([project / ".venv" / "bin" / "dvc", "repro", LAST], workspace, environ)
    return time.monotonic() - started


def with_airflow(project: Path, params: str) -> float:
    """Seconds from the first task's start to the last one's end in `make retrain`."""
    environ = {**os.environ, **THREAD, "AIRFLOW_HOME": str(project / ".airflow")}
    said = _run(["scripts/airflow.sh", "retrain", params], project, environ, check=False)
    rows = dict(re.findall(r"^(\w+)(?: \S+)? +success +([\d.]+ +[\d.]+)$", said, re.MULTILINE))
    if LAST not in rows:
        sys.exit(f"the DAG did not reach {LAST}:\n{said[-3000:]}")
    began = float(rows[FIRST].split()[0])
    last_after, last_seconds = map(float, rows[LAST].split())
    return last_after + last_seconds - began


def with_workers(folder: Path, params: str) -> tuple[float, float]:
    """Seconds of the mapped trainings on two workers, and of the same ones one after the other."""
    command = [ROOT / ".venv-airflow" / "bin" / "python", ROOT / "scripts" / "cluster.py", folder, params, "--serial"]
    said = _run(command, ROOT, dict(os.environ))
    mapped = re.search(r"trainings in ([\d.]+) s of wall time", said)
    serial = re.search(r"one after the other, without Airflow: ([\d.]+) s", said)
    if not mapped or not serial:
        sys.exit(f"scripts/cluster.py did not say how long it took:\n{said[-3000:]}")
    return float(mapped[1]), float(serial[1])


def _run(command: list[str | Path], folder: Path, environ: dict[str, str], check: bool = True) -> str:
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
