"""Runs in Airflow's environment and prints, as JSON, what tests/retraining/test_dag.py asserts on."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction

HEAVY = ("pandas", "numpy", "tensorflow", "keras", "mlflow", "bentoml", "dvc", "pipeline")


def describe(task: Any) -> dict[str, Any]:
    """What one task promises, mapped or not."""
    get = task.partial_kwargs.get if task.is_mapped else lambda name: getattr(task, name)
    return {
        "upstream": sorted(task.upstream_task_ids),
        "retries": get("retries"),
        "timeout": get("execution_timeout").total_seconds(),
        "skip_on": get("skip_on_exit_code"),
        "command": get("bash_command"),
        "cwd": get("cwd"),
        "callbacks": len(get("on_failure_callback") or []),
        "outlets": [asset.name for asset in get("outlets") or []],
        "inlets": [asset.name for asset in get("inlets") or []],
        "trigger": str(get("trigger_rule")),
        "pool": get("pool"),
        "mapped": task.is_mapped,
        "backoff": float(get("retry_exponential_backoff") or 0),
    }


def scheduled(dag: Any) -> Any:
    """The timetable as the scheduler sees it."""
    return DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable


def next_runs(dag: Any, moments: list[str]) -> list[str]:
    """When a DAG that has never run would run first, un-paused at each of these moments."""
    timetable = scheduled(dag)
    timetable = getattr(timetable, "timetable", timetable)
    runs = []
    for moment in moments:
        now = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        with patch("airflow.timetables.trigger.utcnow", return_value=now):
            info = timetable.next_dagrun_info(
                last_automated_data_interval=None, restriction=TimeRestriction(dag.start_date, None, dag.catchup)
            )
        runs.append(info.run_after.isoformat())
    return runs


def main() -> None:
    """Parse the folder given first; the moments of un-pausing follow."""
    folder, *moments = sys.argv[1:]
    before = set(sys.modules)
    bag = DagBag(folder)
    imported = sorted({name.split(".")[0] for name in set(sys.modules) - before} & set(HEAVY))
    # Once more: the first parse also pays for what Airflow imports by itself.
    seconds = {}
    for file in Path(folder).glob("*.py"):
        started = time.process_time()
        bag.process_file(str(file), only_if_updated=False)
        seconds[file.name] = time.process_time() - started
    dags = {
        name: {
            "tasks": {task.task_id: describe(task) for task in dag.tasks},
            "catchup": dag.catchup,
            "max_active_runs": dag.max_active_runs,
            "tags": sorted(dag.tags),
            "doc": bool(dag.doc_md),
            "params": sorted(dag.params),
            "assets": [key.name for key, _ in scheduled(dag).asset_condition.iter_assets()],
            "paused_at_creation": dag.is_paused_upon_creation,
            "next": next_runs(dag, moments),
        }
        for name, dag in bag.dags.items()
    }
    heavy = {"imported": imported, "present": sorted(name for name in HEAVY if name in sys.modules)}
    sys.stdout.write(json.dumps({"errors": bag.import_errors, "dags": dags, "heavy": heavy, "seconds": seconds}))


if __name__ == "__main__":
    main()
