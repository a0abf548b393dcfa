"""Announce new images: when the source's content is new, emit the Asset that starts `pneumonia_retrain`."""

import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, CronTriggerTimetable

ROOT = Path(os.environ.get("PIPELINE_HOME") or Path(__file__).resolve().parents[1])


def explain_failure(context: Any) -> None:
    """Say in the task's log what a failure here means, and what to do."""
    logging.getLogger(__name__).error(
        "Nobody knows whether there are new images. What to do: the last line above that begins with 'retraining:' says "
        "what is wrong; put that right and clear this task, or wait for the next night. More: docs/operating.md, 'When a "
        "retraining fails'. Log: %s",
        getattr(context["task_instance"], "log_url", "in the task's log folder"),
    )


with DAG(
    "chest_xray_watch",
    description="Looks at the source every night and says when its images are new",
    doc_md="Emits `chest_xray_incoming` when the source holds images that nothing was trained on yet; else it skips.",
    tags=["chest-xray"],
    schedule=CronTriggerTimetable("30 1 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    default_args={"on_failure_callback": explain_failure},
) as dag:
    BashOperator(
        task_id="detect_new_data",
        bash_command="exec ${PIPELINE_PYTHON:-.venv/bin/python} -m pipeline.retraining detect_new_data",
        cwd=str(ROOT),
        append_env=True,
        skip_on_exit_code=99,
        retries=1,
        execution_timeout=timedelta(hours=1),
        outlets=[Asset("chest_xray_incoming")],
    )
