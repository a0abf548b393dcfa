"""The DAGs as Airflow sees them: parsed in its own environment, which `make .venv-airflow/.ready` installs."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.retraining.__main__ import TASKS

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-airflow" / "bin" / "python"
# A Monday just after the weekly hour, the same day later, and a Thursday.
MOMENTS = ["2026-11-23T03:00:30", "2026-11-23T12:00:00", "2026-11-26T12:00:00"]


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not PYTHON.exists():
        pytest.fail("Airflow's environment is missing: run `make .venv-airflow/.ready` (make test does)")
    environ = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    environ.pop("RETRAIN_DELIVER", None)
    command = [PYTHON, ROOT / "tests" / "airflow_probe.py", ROOT / "dags", *MOMENTS]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def tasks(parsed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return parsed["dags"]["pneumonia_retrain"]["tasks"]


def test_every_dag_parses_and_says_what_it_is(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert set(parsed["dags"]) == {"pneumonia_retrain", "chest_xray_watch"}
    for dag in parsed["dags"].values():
        assert dag["tags"]
        assert dag["doc"]
        assert dag["catchup"] is False
        assert dag["max_active_runs"] == 1


def test_parsing_imports_nothing_heavy(parsed: dict[str, Any]) -> None:
    assert parsed["heavy"] == {"imported": [], "present": []}
    assert all(seconds < 0.5 for seconds in parsed["seconds"].values()), parsed["seconds"]


def test_the_order_of_the_tasks(tasks: dict[str, dict[str, Any]]) -> None:
    line = ["detect_new_data", "plan", "ingest", "validate", "prepare", "train"]
    line += ["gather_runs", "evaluate", "package", "gate", "promote", "smoke_test"]
    for before, after in zip(line, line[1:], strict=False):
        assert tasks[after]["upstream"] == [before]
    assert tasks["report"]["upstream"] == ["package", "smoke_test"]
    assert tasks["track"]["upstream"] == tasks["deliver"]["upstream"] == ["report"]
    assert tasks["emit_champion_asset"]["upstream"] == ["deliver", "report"]
    # A rejected candidate is reported, a run that had nothing to do is not.
    assert tasks["report"]["trigger"].endswith("NONE_FAILED_MIN_ONE_SUCCESS")


def test_who_learns_of_a_failure(parsed: dict[str, Any]) -> None:
    for name, dag in parsed["dags"].items():
        for task_id, task in dag["tasks"].items():
            assert task["callbacks"] == 1, f"{name}: {task_id}"


def test_each_task_is_tried_again_by_its_own_rule(tasks: dict[str, dict[str, Any]]) -> None:
    wanted = {"ingest": 3, "train": 2, "validate": 0, "gate": 0, "promote": 0, "plan": 0}
    assert {name: tasks[name]["retries"] for name in wanted} == wanted
    assert tasks["train"]["backoff"] > 1
    for name, task in tasks.items():
        assert 0 < task["timeout"] <= 24 * 3600, name
        assert task["skip_on"] in (99, [99]), name


def test_training_is_mapped_and_pooled(tasks: dict[str, dict[str, Any]]) -> None:
    assert [name for name, task in tasks.items() if task["mapped"]] == ["train"]
    assert [name for name, task in tasks.items() if task["pool"] == "training"] == ["train"]


def test_tasks_run_commands_of_the_pipeline_and_no_user_text_reaches_a_shell(
    tasks: dict[str, dict[str, Any]],
) -> None:
    for name, task in tasks.items():
        command = task["command"].removeprefix("exec ${PIPELINE_PYTHON:-.venv/bin/python} -m pipeline.retraining ")
        assert command != task["command"], name
        assert "{{" not in command, name
        assert command.split()[0] in TASKS, name
        assert task["cwd"] == str(ROOT)


def test_every_stage_of_the_pipeline_is_some_task(tasks: dict[str, dict[str, Any]]) -> None:
    import yaml

    stages = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]) - {"train", "stress"}
    run = {word for task in tasks.values() for word in task["command"].split()}
    prepare = (ROOT / "pipeline" / "retraining" / "prepare.py").read_text()
    assert {stage for stage in stages if stage not in run and f'"{stage}"' not in prepare} == set()


def test_no_task_emits_what_starts_its_own_dag(parsed: dict[str, Any], tasks: dict[str, dict[str, Any]]) -> None:
    assert parsed["dags"]["pneumonia_retrain"]["assets"] == ["chest_xray_incoming"]
    emitted = {name: task["outlets"] for name, task in tasks.items() if task["outlets"]}
    assert emitted == {"emit_champion_asset": ["champion"]}
    assert parsed["dags"]["chest_xray_watch"]["tasks"]["detect_new_data"]["outlets"] == ["chest_xray_incoming"]
    assert parsed["dags"]["chest_xray_watch"]["paused_at_creation"] is True


def test_unpausing_starts_nothing(parsed: dict[str, Any]) -> None:
    """Whenever the switch is thrown, the first run is the next Monday's."""
    runs = parsed["dags"]["pneumonia_retrain"]["next"]
    assert runs == ["2026-11-30T03:00:00+00:00"] * 3


def test_the_run_can_be_asked_for_anything_a_person_needs(parsed: dict[str, Any]) -> None:
    assert set(parsed["dags"]["pneumonia_retrain"]["params"]) >= {"runs", "networks", "groups", "epochs", "force"}
