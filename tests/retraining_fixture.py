"""This project as a repository of its own, for tests that retrain in it; and what they ask of git and the system."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from pipeline.workspaces import merge

ROOT = Path(__file__).resolve().parents[1]
RUN = {"network": "custom_cnn", "group": "raw", "augmentation": "none", "seed": 0, "weights": "random"}
SMALL = {
    "ingest": {"dataset": "phantom", "phantom": {"train": 60, "val": 4, "test": 16}},
    "train": {"runs": {"custom_cnn-raw-0": RUN}},
}
NOTHING_TO_DO = 99
RESULTS = ("predictions/", "metrics/", "models/", "plots/", "dvc.lock")


def copy_project(folder: Path, overlay: dict[str, Any] | None = None) -> Path:
    """The project as it stands, uncommitted work included and without results, as one commit; settings laid over."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for file in filter(None, listed):
        if (ROOT / file).is_file() and not file.startswith(RESULTS):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, folder / file)
    if overlay:
        params = folder / "params.yaml"
        params.write_text(yaml.safe_dump(merge(yaml.safe_load(params.read_text()), overlay), sort_keys=False))
    for name in (".venv", ".venv-airflow"):
        (folder / name).symlink_to(ROOT / name)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "project")
    return folder


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without what names another project's folders or machines."""
    unwanted = ("CXR_DATA", "PIPELINE_ROOT", "PIPELINE_HOME", "PIPELINE_PYTHON", "RETRAIN_REMOTE", "RETRAIN_DELIVER")
    return {name: value for name, value in os.environ.items() if name not in unwanted} | more


def running(folder: Path) -> list[str]:
    """Processes that work in a folder or below it."""
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve().is_relative_to(folder):
                processes.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return processes


def environment(run: str, params: dict[str, Any], **more: str) -> dict[str, str]:
    """The environment that the DAG gives to a task."""
    return clean_environment(AIRFLOW_CTX_DAG_RUN_ID=run) | {"RETRAIN_PARAMS": json.dumps(params)} | more


def task(
    project: Path, call: str, run: str, params: dict[str, Any] | None = None, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run a task's command as Airflow does."""
    verb, *arguments = call.split()
    done = subprocess.run(
        [".venv/bin/python", "-m", "pipeline.retraining", verb, *arguments],
        cwd=project, env=environment(run, params or {}, **more), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line in which a failed task says why."""
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("retraining: ")]
    assert len(said) == 1, done.stderr
    return said[0]


def workspace(project: Path, run: str) -> Path:
    """The folder of a run's workspace."""
    (folder,) = project.glob(f".work/retrain-{run}-*/")
    return folder
