"""What Airflow adds to the wall time of the same work: `dvc repro` alone, then the same stages as tasks of the DAG.

Both on generated radiographs, in clones of this project with caches of their own, so that both compute everything. The
tasks that plain DVC has no stage for (look, plan, gate, promotion, smoke test, tracking) are left out of both.
`python -m benchmarks.airflow [EPOCHS [RUNS]]`: by default 6 epochs of 4 runs, some ten minutes on two free cores each.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIRST, LAST = "ingest", "package"
DEFAULTS = [6, 4]  # epochs, runs


def main() -> None:
    """Print one table."""
    given = [int(text) for text in sys.argv[1:3]]
    epochs, runs = (given + DEFAULTS[len(given) :])[:2]
    params = json.dumps(request(epochs, runs))
    with tempfile.TemporaryDirectory() as folder:
        plain = with_dvc(clone(Path(folder) / "plain"), params)
        scheduled = with_airflow(clone(Path(folder) / "airflow"), params)
    print(f"{runs} trainings of {epochs} epochs, and every stage from {FIRST} to {LAST}")
    print(f"{'dvc repro':24} {plain:8.1f} s")
    print(f"{'tasks of the DAG':24} {scheduled:8.1f} s  {100 * (scheduled / plain - 1):+.1f} %")


def request(epochs: int, runs: int) -> dict[str, object]:
    """Parameters of the DAG: so many seeds of the small network on phantoms."""
    line = {"network": "custom_cnn", "group": "augmented", "weights": "random"}
    table = {f"custom_cnn-augmented-{seed}": line | {"seed": seed} for seed in range(runs)}
    return {"epochs": epochs, "settings": {"ingest": {"dataset": "phantom"}, "train": {"runs": table}}}


def clone(folder: Path) -> Path:
    """The project as committed, with both environments."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    for name in (".venv", ".venv-airflow"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def with_dvc(project: Path, params: str) -> float:
    """Seconds of `dvc repro` in a workspace made as the DAG makes one."""
    environ = {**os.environ, "AIRFLOW_CTX_DAG_RUN_ID": "plain", "RETRAIN_PARAMS": params}
    environ["PATH"] = f"{project / '.venv' / 'bin'}{os.pathsep}{environ['PATH']}"
    _run([".venv/bin/python", "-m", "pipeline.retraining.plan"], project, environ)
    (workspace,) = project.glob(".work/retrain-*/")
    started = time.monotonic()
    _run([project / ".venv" / "bin" / "dvc", "repro", LAST], workspace, environ)
    return time.monotonic() - started


def with_airflow(project: Path, params: str) -> float:
    """Seconds from the first task's start to the last one's end in `make retrain`."""
    environ = {**os.environ, "AIRFLOW_HOME": str(project / ".airflow")}
    said = _run(["scripts/airflow.sh", "retrain", params], project, environ, check=False)
    rows = dict(re.findall(r"^(\w+)(?: \S+)? +success +([\d.]+ +[\d.]+)$", said, re.MULTILINE))
    if LAST not in rows:
        sys.exit(f"the DAG did not reach {LAST}:\n{said[-3000:]}")
    began = float(rows[FIRST].split()[0])
    last_after, last_seconds = map(float, rows[LAST].split())
    return last_after + last_seconds - began


def _run(command: list[str | Path], folder: Path, environ: dict[str, str], check: bool = True) -> str:
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
