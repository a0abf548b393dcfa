"""Runs in MLflow that are there once: found by a key, made anew when their content differs, whole or not at all."""

import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import paths
from pipeline.files import sha256_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY, CONTENT = "digest", "published"  # tags: what a run is, and that all of it has arrived
PARENT = "mlflow.parentRunId"
BATCH = 500  # MLflow takes at most 1000 metrics and 100 parameters at once


def connect(uri: str) -> "MlflowClient":
    """A client that gives up on a dead server within seconds."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for noisy in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    from mlflow import MlflowClient  # 4 s

    return MlflowClient(tracking_uri=uri)


def experiment_id(client: "MlflowClient", name: str) -> str:
    """The experiment of this name, made when there is none; beside a local database its files lie in mlartifacts/."""
    experiment = client.get_experiment_by_name(name)
    if experiment:
        return experiment.experiment_id
    local = client.tracking_uri.startswith("sqlite:")
    return client.create_experiment(name, artifact_location=(paths.ROOT / "mlartifacts").as_uri() if local else None)


def ensure(
    client: "MlflowClient",
    experiment: str,
    *,
    name: str,
    key: str,
    tags: dict[str, str],
    artifacts: dict[str, list[Path]],
    params: dict[str, Any] | None = None,
    metrics: list[tuple[str, float, int]] | None = None,
    dataset: str | None = None,
) -> str:
    """The id of the run with this key, made or filled again unless exactly this was published before.

    Metrics are (name, value, step); `dataset` is the name of the data set, whose digest stands in the tags. What arrived in
    part (a killed or lost connection), or says something else now, is deleted and published anew, so nothing is ever there
    twice.
    """
    content = _digest_of(name, tags, params, metrics, artifacts)
    run = find(client, experiment, key)
    if run and run.data.tags.get(CONTENT) == content:
        _delete_others(client, experiment, key, run.info.run_id)  # a kill may have come before
        return run.info.run_id
    below = children(client, experiment, run.info.run_id) if run else []
    from mlflow.entities import Dataset, DatasetInput, Metric, Param

    run_id = client.create_run(experiment, run_name=name, tags={KEY: key, **tags}).info.run_id
    now = int(time.time() * 1000)
    values = [Metric(metric, value, now, step) for metric, value, step in metrics or []]
    for start in range(0, len(values), BATCH):
        client.log_batch(run_id, metrics=values[start : start + BATCH])
    client.log_batch(run_id, params=[Param(param, str(value)) for param, value in (params or {}).items()])
    if dataset:
        digest = tags["dataset_digest"]
        used = Dataset(dataset, digest[:36], "code", "dvc: data/dataset.json")
        client.log_inputs(run_id, datasets=[DatasetInput(used)])
    for folder, sources in artifacts.items():
        for source in sources:
            if source.is_dir():
                client.log_artifacts(run_id, str(source), folder or None)
            elif source.is_file():
                client.log_artifact(run_id, str(source), folder or None)
    for child in below:
        client.set_tag(child, PARENT, run_id)
    client.set_terminated(run_id)
    client.set_tag(run_id, CONTENT, content)  # the last: from now on it is whole
    _delete_others(client, experiment, key, run_id)
    return run_id


def _delete_others(client: "MlflowClient", experiment: str, key: str, kept: str) -> None:
    for other in _with_key(client, experiment, key):
        if other.info.run_id != kept:
            client.delete_run(other.info.run_id)


def find(client: "MlflowClient", experiment: str, key: str) -> "Run | None":
    """The whole run with this key; one that arrived in part only where there is no whole one."""
    match = _with_key(client, experiment, key)
    return max(match, key=lambda run: (CONTENT in run.data.tags, run.info.start_time)) if match else None


def children(client: "MlflowClient", experiment: str, parent: str) -> list[str]:
    """The ids of the runs below `parent`."""
    runs = client.search_runs([experiment], f"tags.`{PARENT}` = '{parent}'", max_results=1000)
    return [run.info.run_id for run in runs]


def _with_key(client: "MlflowClient", experiment: str, key: str) -> "list[Run]":
    return list(client.search_runs([experiment], f"tags.`{KEY}` = '{key}'"))


def _digest_of(name: str, tags: dict[str, str], params: Any, metrics: Any, artifacts: dict[str, list[Path]]) -> str:
    """SHA-256 over everything that a run in MLflow shows, so that it can be told what is new."""
    lines = [json.dumps([name, tags, params, metrics], sort_keys=True)]
    for folder, sources in artifacts.items():
        for source in sources:
            files = sorted(source.rglob("*")) if source.is_dir() else [source]
            lines += [f"{sha256_of(path)}  {folder}/{path.name}" for path in files if path.is_file()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
