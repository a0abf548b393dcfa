"""The DAG in a real Airflow, task after task, with a script in place of the pipeline's commands: who runs after whom."""

import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.retraining_fixture import clean_environment, copy_project

COMMANDS = """\
#!/bin/sh
# Called as the pipeline's Python would be: -m pipeline.retraining TASK
case "$3" in
detect_new_data) exit "$DETECT" ;;
plan) echo '{"RETRAIN_COMMIT": "abc"}' ;;
prepare) echo '[{"RETRAIN_RUN": "one"}, {"RETRAIN_RUN": "two"}]' ;;
gate) exit "$GATE" ;;
deliver) exit "$DELIVER" ;;
emit_champion_asset) exit "$EMIT" ;;
esac
"""
BEFORE = ("detect_new_data", "plan", "ingest", "validate", "prepare", "train", "gather_runs", "evaluate", "package")
SKIPPED, DONE = "skipped", "success"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_project(tmp_path_factory.mktemp("dag") / "project")
    script = folder.parent / "commands"
    script.write_text(COMMANDS)
    script.chmod(0o755)
    return folder


def states(project: Path, **codes: str) -> dict[str, str]:
    """What each task came to in one run of `make retrain`, by the exit statuses of the commands."""
    environ = clean_environment(PIPELINE_PYTHON=str(project.parent / "commands"), **{"DETECT": "0", **codes})
    command = ["scripts/airflow.sh", "retrain", "{}"]
    done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=False)
    states_said = dict(
        re.findall(r"^(\w+)(?: \S+)? +(success|skipped|failed|upstream_failed) ", done.stdout, re.MULTILINE)
    )
    assert states_said, done.stdout + done.stderr
    return states_said


@pytest.mark.parametrize(
    ("codes", "wanted"),
    [
        # Rejected by the gate: reported and tracked all the same, and nothing that serves changes.
        (
            {"GATE": "99", "DELIVER": "99", "EMIT": "99"},
            {"gate": SKIPPED, "promote": SKIPPED, "smoke_test": SKIPPED, "report": DONE, "track": DONE}
            | {"deliver": SKIPPED, "emit_champion_asset": SKIPPED},
        ),
        # Promoted in its workspace and carried out: also where `deliver` is tried again and finds its work done.
        (
            {"GATE": "0", "DELIVER": "99", "EMIT": "0"},
            {"gate": DONE, "promote": DONE, "smoke_test": DONE, "report": DONE, "track": DONE}
            | {"deliver": SKIPPED, "emit_champion_asset": DONE},
        ),
    ],
    ids=["rejected", "promoted"],
)
def test_what_runs_after_the_gate(project: Path, codes: dict[str, str], wanted: dict[str, str]) -> None:
    assert states(project, **codes) == dict.fromkeys(BEFORE, DONE) | wanted


def test_without_new_images_nothing_runs_and_the_dag_is_on(project: Path) -> None:
    assert set(states(project, DETECT="99").values()) == {SKIPPED}
    # `make retrain` made the DAG known to Airflow; `make airflow` must find it on.
    with sqlite3.connect(project / ".airflow" / "airflow.db") as database:
        paused = dict(database.execute("SELECT dag_id, is_paused FROM dag"))
    assert paused == {"pneumonia_retrain": 0, "chest_xray_watch": 1}


def test_nothing_listens_beyond_this_machine(project: Path) -> None:
    """The settings that every part gets; tests/retraining/test_retraining_scheduler.py asks the running parts."""
    environ = clean_environment(AIRFLOW_PORT="8099")
    said = subprocess.run(
        ["scripts/airflow.sh", "env", "env"], cwd=project, env=environ, capture_output=True, text=True, check=True
    )
    told = dict(line.split("=", 1) for line in said.stdout.splitlines() if line.startswith("AIRFLOW"))
    assert told["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert told["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:8099"
    assert told["AIRFLOW_HOME"] == str(project / ".airflow")
    assert "airflow scheduler --skip-serve-logs" in (project / "scripts" / "airflow.sh").read_text()
