"""Publish the committed study to MLflow: one parent run, a child for each run of the study, and the champions.

Everything comes from files in git, so the same command rebuilds a lost database, and running it again changes nothing.
Training never talks to MLflow. A server that is down fails nothing: the next call makes up for it.
"""

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import dvc, paths
from pipeline.command import run as run_command
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import predictions
from pipeline.files import read_json, sha256_of
from pipeline.tracking import mirror, runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

EXPERIMENT = "chest-xray-study"
ENVIRONMENT = "environment.json"  # with what a run was trained: another one makes no other run
HISTORY = ("learning_rate", "loss", "accuracy", "val_loss", "val_accuracy")


def main() -> None:
    """Publish what is committed; a warning, and status 0, where the server does not answer.

    Raises:
        ProjectError: there is nothing to publish, or a database on this machine is none that MLflow takes.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.ROOT / 'mlflow.db'}"
    names = sorted(path.parent.name for path in paths.PREDICTIONS.glob("[!.]*/run.json"))  # not what is being written
    if not names:
        raise ProjectError("predictions/ holds no run to publish: train one first (make repro)")
    # A damaged file is our fault, not the server's: it fails here.
    facts = {name: predictions.read(paths.predictions(name)).facts for name in names}
    from alembic.util import CommandError  # of a database of another MLflow
    from mlflow.exceptions import MlflowException  # 4 s
    from sqlalchemy.exc import SQLAlchemyError

    with _one_at_a_time():
        try:
            client = runs.connect(uri)
            publish(client, facts)
            mirror.publish(client)
        except (MlflowException, CommandError, SQLAlchemyError, OSError) as error:
            if not uri.startswith("http"):
                raise ProjectError(f"MLflow at {uri}: {_short(error)}") from None
            log.warning(
                "MLflow at %s did not take it all (%s); the next `make track` makes up for it", uri, _short(error)
            )
            return
    log.info("published %d runs to %s; see them with: mlflow ui --backend-store-uri %s", len(facts), uri, uri)


def publish(client: "MlflowClient", facts: dict[str, dict[str, Any]]) -> None:
    """One parent for each data set, and one child for each run in predictions/; `facts` are the runs' run.json."""
    experiment = runs.experiment_id(client, EXPERIMENT)
    lock = dvc.lock()
    for digest in sorted({fact["dataset_digest"] for fact in facts.values()}):
        mine = [name for name in facts if facts[name]["dataset_digest"] == digest]
        first = facts[mine[0]]
        parent = runs.ensure(
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


def _publish_run(
    client: "MlflowClient", experiment: str, parent: str, name: str, facts: dict[str, Any], lock: dict[str, Any]
) -> str:
    """One run of the study: history by epoch, metrics, facts, digests, with what it was trained, and predictions."""
    folder = paths.predictions(name)
    metrics: list[tuple[str, float, int]] = []
    if (folder / "history.csv").is_file():
        for row in read_table(folder / "history.csv"):
            metrics += [(f"history/{key}", float(row[key]), int(row["epoch"])) for key in HISTORY]
    summary = paths.METRICS / "runs" / f"{name}.json"
    estimates = read_json(summary, otherwise={})
    metrics += [
        (key, float(value), 0)
        for key, value in estimates.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and key not in facts
    ]
    return runs.ensure(
        client,
        experiment,
        name=name,
        key=run_digest(folder),
        tags={
            runs.PARENT: parent,
            "dataset_digest": facts["dataset_digest"],
            "code_digest": _code_digest(lock, name),
            **_environment(folder),
        },
        params=facts,
        metrics=metrics,
        artifacts={"predictions": sorted(folder.iterdir()), "metrics": [summary]},
        dataset=facts["dataset"],
    )


def run_digest(folder: Path) -> str:
    """SHA-256 over the files that a run left in predictions/: the same run on any machine, and no other."""
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name != ENVIRONMENT)
    lines = [f"{sha256_of(path)}  {path.name}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _environment(folder: Path) -> dict[str, str]:
    """With what the run was trained, as tags; none for a run that is older than that file."""
    path = folder / ENVIRONMENT
    known = read_json(path, otherwise={})
    flat = {key: value for key, value in known.items() if key != "packages"} | known.get("packages", {})
    return {f"trained_with.{key}": str(value) for key, value in flat.items() if value is not None}


def _set_aside(client: "MlflowClient", experiment: str, parent: str, current: list[str]) -> None:
    """Runs that the study no longer holds (trained again, or taken out) stay in MLflow, but not under the parent."""
    for child in set(runs.children(client, experiment, parent)) - set(current):
        client.set_tag(child, "superseded", "true")
        client.delete_tag(child, runs.PARENT)


def _code_digest(lock: dict[str, Any], name: str) -> str:
    """SHA-256 over what dvc.lock says of the code that trained a run."""
    code = [
        f"{dep.get('md5')}  {dep['path']}"
        for dep in lock.get(f"train@{name}", lock.get(name, {})).get("deps", [])  # the baseline is a stage of its own
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
