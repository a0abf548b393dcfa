"""Retrain, compare, replace the champion if the gate agrees: weekly, on demand, or when new images were announced.

This file says when things run and how a failure is met. What a task does is one command of the pipeline's own
environment, `python -m pipeline.retraining <task>`; nothing of the pipeline is imported here.
"""

import json
import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable, Param, TriggerRule

ROOT = Path(os.environ.get("PIPELINE_HOME") or Path(__file__).resolve().parents[1])
NOTHING_TO_DO = 99  # a command that ends with this exit status makes its task, and those that wait for it, a skip
POOL = "training"  # its slots are the trainings at once: made by `make airflow`, see docs/operating.md

# Only others emit this one (the API, dags/chest_xray_watch.py): a task here that did would start its own DAG again.
INCOMING = Asset("chest_xray_incoming")
CHAMPION = Asset("champion")

DOCS = """
**Retraining.** Looks for new images, trains the table of runs in a workspace of its own, evaluates, and promotes the
candidate if the gate agrees. The checkout and the champion that serves stay as they are until the last tasks.

*Trigger it* with `{"networks": ["custom_cnn"], "groups": ["raw"], "epochs": 3}`, or
`{"runs": ["xception-balanced-0"]}`, or `{"force": true}`. Everything else that `params.yaml` knows goes into
`settings`, as in `{"settings": {"ingest": {"dataset": "phantom"}}}`. `deliver` says where a new champion goes: it stays in the
`workspace`, or becomes a git `branch` to review, or goes into the `checkout`, whose service picks it up at once.

*When a task fails*, its log ends with what is wrong and what to do; clear the task after the repair and the run goes
on. See docs/operating.md.
"""

PARAMS = {
    "runs": Param([], type="array", items={"type": "string"}, description="Names from train.runs; none: all."),
    "networks": Param([], type="array", items={"type": "string"}, description="Only runs of these networks."),
    "groups": Param([], type="array", items={"type": "string"}, description="Only runs on these data groups."),
    "epochs": Param(None, type=["null", "integer"], minimum=1, description="Instead of those in params.yaml."),
    "force": Param(
        False, type="boolean", description="Go on, and train again, although nothing changed; on one machine."
    ),
    "settings": Param({}, type="object", description="Laid over params.yaml, for this run alone."),
    "deliver": Param(
        os.environ.get("RETRAIN_DELIVER", "workspace"),
        enum=["workspace", "branch", "checkout"],
        description="Where a new champion goes.",
    ),
}

COMMIT = "{{ (ti.xcom_pull(task_ids='plan') or {}).get('RETRAIN_COMMIT', '') }}"
REQUEST = {"RETRAIN_PARAMS": "{{ params | tojson }}", "RETRAIN_COMMIT": COMMIT}


def explain_failure(context: Any) -> None:
    """Say in the task's log which stage failed, which log says why, and what to do."""
    task = context["task_instance"]
    label = f" [{getattr(task, 'rendered_map_index', None) or task.map_index}]" if task.map_index >= 0 else ""
    logging.getLogger(__name__).error(
        "%s%s failed in run %s, try %s. Log: %s. What to do: the last line above that begins with 'retraining:' says "
        "what is wrong; put that right and clear this task. Finished work is kept, a training goes on from its last epoch, "
        "and the champion that serves is unchanged. More: docs/operating.md, 'When a retraining fails'.",
        task.task_id,
        label,
        task.run_id,
        task.try_number,
        getattr(task, "log_url", "in the task's log folder"),
    )


def rules(task: str, *, retries: int, minutes: float, **more: Any) -> dict[str, Any]:
    """What every task has: the command, where it runs, how often it is tried again, and how long it may take."""
    return {
        "bash_command": f"exec ${{PIPELINE_PYTHON:-.venv/bin/python}} -m pipeline.retraining {task}",
        "cwd": str(ROOT),
        "append_env": True,
        "skip_on_exit_code": NOTHING_TO_DO,
        "retries": retries,
        "execution_timeout": timedelta(minutes=minutes),
        **more,
    }


with DAG(
    "pneumonia_retrain",
    description="New images to a new champion, if the gate agrees",
    doc_md=DOCS,
    tags=["chest-xray", "retraining"],
    schedule=AssetOrTimeSchedule(
        # Zero: with the default a DAG un-paused within 10 % of a week after Monday, 03:00 would start at once.
        timetable=CronTriggerTimetable("0 3 * * 1", timezone="UTC", run_immediately=timedelta(0)),
        assets=[INCOMING],
    ),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(days=6),
    params=PARAMS,
    default_args={
        "retry_delay": timedelta(minutes=1),
        "on_failure_callback": explain_failure,
        "env": REQUEST,
    },
) as dag:
    detect_new_data = BashOperator(task_id="detect_new_data", **rules("detect_new_data", retries=1, minutes=60))
    plan = BashOperator(task_id="plan", output_processor=json.loads, **rules("plan", retries=0, minutes=10))
    ingest = BashOperator(task_id="ingest", **rules("run_stages ingest", retries=3, minutes=240))
    validate = BashOperator(task_id="validate", **rules("run_stages validate", retries=0, minutes=60))
    prepare = BashOperator(task_id="prepare", output_processor=json.loads, **rules("prepare", retries=1, minutes=120))
    train = BashOperator.partial(
        task_id="train",
        pool=POOL,
        queue="training",  # CeleryExecutor: any worker; the other tasks keep to the one with the run's workspace
        retry_exponential_backoff=2.0,
        max_retry_delay=timedelta(minutes=30),
        map_index_template="{{ task.env['RETRAIN_RUN'] }}",
        **rules('run_stages "train@$RETRAIN_RUN" "stress@$RETRAIN_RUN"', retries=2, minutes=24 * 60),
    ).expand(env=prepare.output)
    gather_runs = BashOperator(task_id="gather_runs", **rules("gather_runs", retries=1, minutes=120))
    evaluate = BashOperator(task_id="evaluate", **rules("run_stages baseline evaluate compare", retries=1, minutes=120))
    package = BashOperator(task_id="package", **rules("run_stages package", retries=1, minutes=60))
    gate = BashOperator(task_id="gate", **rules("gate", retries=0, minutes=60))
    promote = BashOperator(task_id="promote", **rules("promote", retries=0, minutes=15))
    smoke = BashOperator(task_id="smoke_test", **rules("smoke", retries=1, minutes=15))
    # A rejected candidate is reported too; a run that had nothing to do is not.
    report = BashOperator(
        task_id="report",
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        **rules("run_stages explore explain report", retries=1, minutes=240),
    )
    track = BashOperator(task_id="track", **rules("track", retries=2, minutes=30))
    deliver = BashOperator(task_id="deliver", **rules("deliver", retries=1, minutes=15))
    # Succeeds, and emits, only where the champion that serves is this run's: not from a workspace, not from a branch.
    emit_champion_asset = BashOperator(
        task_id="emit_champion_asset",
        outlets=[CHAMPION],
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        **rules("emit_champion_asset", retries=1, minutes=15),
    )

    detect_new_data >> plan >> ingest >> validate >> prepare >> train >> gather_runs >> evaluate >> package
    package >> gate >> promote >> smoke
    [package, smoke] >> report >> [track, deliver]
    [report, deliver] >> emit_champion_asset
