"""One run of the retraining DAG, task after task, without a scheduler; ends with what each task did.

Started by scripts/airflow.sh in Airflow's environment: `retrain_once.py '{"runs": [...], "epochs": 1}'`.
"""

import json
import os
import sys

from airflow.dag_processing.dagbag import DagBag


def main() -> None:
    """Run the DAG with the parameters given as JSON; exit status 1 when a task failed."""
    try:
        conf = json.loads(sys.argv[1])
    except ValueError as error:
        sys.exit(f"retrain: the parameters are no JSON: {error}")
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    if bag.import_errors:
        sys.exit(f"retrain: {bag.import_errors}")
    run = bag.dags["pneumonia_retrain"].test(run_conf=conf)
    tasks = run.get_task_instances()
    tasks.sort(key=lambda task: (task.start_date is None, task.start_date, task.map_index))
    begun = min(task.start_date for task in tasks if task.start_date)
    lines = ["", f"{'task':32} {'state':16} {'after':>8} {'seconds':>8}"]
    for task in tasks:
        name = task.task_id if task.map_index < 0 else f"{task.task_id} {task.rendered_map_index}"
        after = (task.start_date - begun).total_seconds() if task.start_date else 0.0
        lines.append(f"{name:32} {task.state or '':16} {after:8.1f} {task.duration or 0:8.1f}")
    lines += ["", f"run {run.run_id}: {run.state}"]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(0 if run.state == "success" else 1)


if __name__ == "__main__":
    main()
