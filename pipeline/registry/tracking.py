"""Publish the committed study to MLflow: one parent run, a child for each run of the study, and the champions.

Everything comes from files in git, so the same command rebuilds a lost database, and running it again changes nothing.
Training never talks to MLflow. A server that is down fails nothing: the next call makes up for it.
"""

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import dvc, paths
from pipeline.command import run as run_command
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import predictions
from pipeline.files import sha256_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)

EXPERIMENT = "chest-xray-study"
ENVIRONMENT = "environment.json"  # with what a run was trained: another one makes no other run
KEY, CONTENT = "digest", "published"  # tags: what a run is, and that all of it has arrived
PARENT = "mlflow.parentRunId"
BATCH = 500  # MLflow takes at most 1000 metrics and 100 parameters at once
HISTORY = ("learning_rate", "loss", "accuracy", "val_loss", "val_accuracy")


def main() -> None:
    """Publish what is committed; a warning, and status 0, where the server does not answer."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.ROOT / 'mlflow.db'}"
    names = sorted(path.parent.name for path in paths.PREDICTIONS.glob("[!.]*/run.json"))  # not what is being written
    if not names:
        raise ProjectError("predictions/ holds no run to publish: train one first (make repro)")
    # A damaged file is our fault, not the server's: it fails here.
    facts = {name: predictions.read(paths.predictions(name)).facts for name in names}
    with _one_at_a_time():
        client = connect(uri)
        try:
            publish(client, facts)
            from pipeline.registry import mirror

            mirror.publish(client)
        except ProjectError:
            raise
        except Exception as error:  # noqa: BLE001 - each store and transport raises kinds of its own
            log.warning(
                "MLflow at %s did not take it all (%s); the next `make track` makes up for it", uri, _short(error)
            )
            return
    log.info("published %d runs to %s; see them with: mlflow ui --backend-store-uri %s", len(facts), uri, uri)


def connect(uri: str) -> "MlflowClient":
    """A client that gives up on a dead server within seconds."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for noisy in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    from mlflow import MlflowClient  # 4 s

    return MlflowClient(tracking_uri=uri)


def publish(client: "MlflowClient", facts: dict[str, dict[str, Any]]) -> None:
    """One parent for each data set, and one child for each run in predictions/; `facts` are the runs' run.json."""
    experiment = experiment_id(client, EXPERIMENT)
    lock = dvc.lock()
    for digest in sorted({fact["dataset_digest"] for fact in facts.values()}):
        mine = [name for name in facts if facts[name]["dataset_digest"] == digest]
        first = facts[mine[0]]
        parent = ensure(
            client,
            experiment,
            name=f"study of {first['dataset']} ({first['edition']})",
            key=digest,
            tags={"dataset": first["dataset"], "edition": first["edition"], "dataset_digest": digest}
            | {"dvc_lock": sha256_of(paths.LOCK) if paths.LOCK.is_file() else "none"},
            artifacts={"": [paths.PARAMS, paths.LOCK], "metrics": [paths.METRICS], "plots": [paths.PLOTS]},
        )
        children = [_publish_run(client, experiment, parent, name, facts[name], lock) for name in mine]
        _set_aside(client, experiment, parent, children)


def experiment_id(client: "MlflowClient", name: str) -> str:
    """The experiment of this name, made when there is none; beside a local database its files lie in mlartifacts/."""
    found = client.get_experiment_by_name(name)
    if found:
        return found.experiment_id
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
) -> str:
    """The id of the run with this key, made or filled again unless exactly this was published before.

    Metrics are (name, value, step). What arrived in part (a killed or lost connection), or says something else now, is
    deleted and published anew, so nothing is ever there twice.
    """
    content = _digest_of(name, tags, params, metrics, artifacts)
    found = find(client, experiment, key)
    if found and found.data.tags.get(CONTENT) == content:
        return found.info.run_id
    children = _children(client, experiment, found.info.run_id) if found else []
    from mlflow.entities import Metric, Param

    run_id = client.create_run(experiment, run_name=name, tags={KEY: key, **tags}).info.run_id
    now = int(time.time() * 1000)
    values = [Metric(metric, value, now, step) for metric, value, step in metrics or []]
    for start in range(0, len(values), BATCH):
        client.log_batch(run_id, metrics=values[start : start + BATCH])
    client.log_batch(run_id, params=[Param(param, str(value)) for param, value in (params or {}).items()])
    for folder, sources in artifacts.items():
        for source in sources:
            if source.is_dir():
                client.log_artifacts(run_id, str(source), folder or None)
            elif source.is_file():
                client.log_artifact(run_id, str(source), folder or None)
    for child in children:
        client.set_tag(child, PARENT, run_id)
    client.set_tag(run_id, CONTENT, content)
    client.set_terminated(run_id)
    for old in _with_key(client, experiment, key):
        if old.info.run_id != run_id:
            client.delete_run(old.info.run_id)
    return run_id


def find(client: "MlflowClient", experiment: str, key: str) -> "Run | None":
    """The whole run with this key; one that arrived in part only where there is no whole one."""
    found = _with_key(client, experiment, key)
    return max(found, key=lambda run: (CONTENT in run.data.tags, run.info.start_time)) if found else None


def _publish_run(
    client: "MlflowClient", experiment: str, parent: str, name: str, facts: dict[str, Any], lock: dict[str, Any]
) -> str:
    """One run of the study: history by epoch, figures, facts, digests, with what it was trained, and predictions."""
    folder = paths.predictions(name)
    metrics: list[tuple[str, float, int]] = []
    if (folder / "history.csv").is_file():
        for row in read_table(folder / "history.csv"):
            metrics += [(f"history/{key}", float(row[key]), int(row["epoch"])) for key in HISTORY]
    summary = paths.METRICS / "runs" / f"{name}.json"
    figures = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {}
    metrics += [
        (key, float(value), 0)
        for key, value in figures.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and key not in facts
    ]
    return ensure(
        client,
        experiment,
        name=name,
        key=run_digest(folder),
        tags={
            PARENT: parent,
            "dataset_digest": facts["dataset_digest"],
            "code_digest": _code_digest(lock, name),
            **_environment(folder),
        },
        params=facts,
        metrics=metrics,
        artifacts={"predictions": sorted(folder.iterdir()), "metrics": [summary]},
    )


def run_digest(folder: Path) -> str:
    """SHA-256 over the files that a run left in predictions/: the same run on any machine, and no other."""
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name != ENVIRONMENT)
    lines = [f"{sha256_of(path)}  {path.name}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _environment(folder: Path) -> dict[str, str]:
    """With what the run was trained, as tags; none for a run that is older than that file."""
    path = folder / ENVIRONMENT
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    flat = {key: value for key, value in known.items() if key != "packages"} | known.get("packages", {})
    return {f"trained_with.{key}": str(value) for key, value in flat.items() if value is not None}


def _set_aside(client: "MlflowClient", experiment: str, parent: str, current: list[str]) -> None:
    """Runs that the study no longer holds (trained again, or taken out) stay in MLflow, but not under the parent."""
    for child in set(_children(client, experiment, parent)) - set(current):
        client.set_tag(child, "superseded", "true")
        client.delete_tag(child, PARENT)


def _children(client: "MlflowClient", experiment: str, parent: str) -> list[str]:
    found = client.search_runs([experiment], f"tags.`{PARENT}` = '{parent}'", max_results=1000)
    return [run.info.run_id for run in found]


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


def _code_digest(lock: dict[str, Any], name: str) -> str:
    """SHA-256 over what dvc.lock says of the code that trained a run."""
    code = [
        f"{dep.get('md5')}  {dep['path']}"
        for dep in lock.get(f"train@{name}", lock.get(name, {})).get("deps", [])  # the floor is a stage of its own
        if dep["path"].startswith("pipeline/")
    ]
    return hashlib.sha256("\n".join(code).encode()).hexdigest() if code else "not in dvc.lock"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two calls at once (runs of a study that end together) would both find nothing and publish everything."""
    path = paths.CACHE / "tracking.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    run_command("track", main)
