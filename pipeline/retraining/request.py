"""What a retraining was asked to do, and what that makes of params.yaml."""

import copy
import difflib
import fnmatch
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, Field

from pipeline import workspaces
from pipeline.errors import ProjectError
from pipeline.old_names import with_new_names
from pipeline.retraining import remote
from pipeline.schema import Section, parse

PARAMS = "RETRAIN_PARAMS"  # JSON
PATHS = ("serve.log", "gate.extra.*.folder")  # the settings that hold a path


class Parameters(Section):
    """What a person asks of a retraining.

    Attributes:
        runs, networks, groups: which lines of train.runs; empty: all.
        epochs: in place of those in params.yaml; None: those.
        force: go on, and train again, although nothing changed; on one machine alone.
        settings: laid over params.yaml; train.runs is replaced whole.
        deliver: where a new champion goes: workspace, branch or checkout.
    """

    runs: list[str] = []
    networks: list[str] = []
    groups: list[str] = []
    epochs: int | None = Field(default=None, ge=1, le=100_000)
    force: bool = False
    settings: dict[str, Any] = {}
    deliver: Literal["workspace", "branch", "checkout"] = "workspace"


class Request(Parameters):
    """One run of the scheduler.

    Attributes:
        run_id: the scheduler's name of the run.
        commit: the commit that it works on; "" before the workspace is made.
    """

    run_id: str
    commit: str = ""

    @property
    def workspace(self) -> str:
        """The name of the run's workspace: readable, safe as a folder and as a branch, never another run's."""
        readable = re.sub(r"[^A-Za-z0-9]+", "-", self.run_id).strip("-")[:40]
        return f"retrain-{readable}-{hashlib.sha256(self.run_id.encode()).hexdigest()[:6]}"

    @property
    def changes_settings(self) -> bool:
        """Whether the run was asked for anything but "the usual, if the images are new"."""
        return bool(self.runs or self.networks or self.groups or self.epochs or self.settings)


def from_environment(environ: Mapping[str, str] = os.environ) -> Request:
    """The request that the DAG puts into each task's environment.

    Raises:
        ProjectError: there is none, it does not have the form of the DAG's parameters, or it cannot be carried out.
    """
    run_id = environ.get("AIRFLOW_CTX_DAG_RUN_ID")
    if not run_id:
        raise ProjectError(
            "AIRFLOW_CTX_DAG_RUN_ID is not set: this command is a task of dags/pneumonia_retrain.py (make retrain)"
        )
    try:
        values = json.loads(environ.get(PARAMS) or "{}")
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"{PARAMS} is no valid JSON: {error}") from None
    asked = parse(Parameters, values, "", PARAMS).model_dump()
    asked["settings"] = with_new_names(asked["settings"], f"{PARAMS}: settings")
    request = Request(run_id=run_id, commit=environ.get("RETRAIN_COMMIT", ""), **asked)
    if request.force and environ.get(remote.REMOTE):
        # The run cache holds the old result under the same key, and nothing tells `gather_runs` which one is newer.
        raise ProjectError(
            f"force trains again on one machine alone, and {remote.REMOTE} is set: ask for runs or networks by name to go "
            "on without new images, or change a setting to train again"
        )
    return request


def lay_over(params: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """params.yaml as this run uses it: its settings laid over, only its lines of the table of runs, its number of epochs.

    Raises:
        ProjectError: a run, network or group is unknown, no line of train.runs is left, or lines that a branch must keep
            are not, or a path leads out of the workspace.
    """
    _expect_paths_inside(request.settings)
    merged = copy.deepcopy(workspaces.merge(dict(params), request.settings))
    parse(_Layout, merged, "", "params.yaml with the run's settings")
    train = merged["train"]
    # A run that is asked for by name, network or group may be one that is planned and was never trained.
    asked = request.runs or request.networks or request.groups
    table = {**(train.get("planned") or {}), **train["runs"]} if asked else train["runs"]
    _expect_known("run", request.runs, table)
    _expect_known("network", request.networks, {entry["network"]: None for entry in table.values()})
    _expect_known("group", request.groups, merged["groups"]["sets"])
    train["runs"] = {
        name: line
        for name, line in table.items()
        if (not request.runs or name in request.runs)
        and (not request.networks or line["network"] in request.networks)
        and (not request.groups or line["group"] in request.groups)
    }
    if not train["runs"]:
        raise ProjectError("no line of train.runs in params.yaml has these runs, networks and groups together")
    lost = [name for name in params["train"]["runs"] if name not in train["runs"]]
    if lost and request.deliver == "branch":
        # The other runs saw other images: they can neither stay beside the new ones nor be deleted in passing.
        raise ProjectError(
            f"deliver: a branch takes all lines of train.runs, and this run leaves out {len(lost)} of them ({lost[0]}, ...): "
            "ask for all, or for deliver: workspace"
        )
    if request.epochs is not None:
        for entry in train["runs"].values():
            entry["epochs"] = request.epochs
    return merged


class _Entry(BaseModel):
    network: str
    group: str


class _Train(BaseModel):
    runs: dict[str, _Entry]
    planned: dict[str, _Entry] | None = None


class _Groups(BaseModel):
    sets: dict[str, Any]


class _Layout(BaseModel):
    """What a choice of runs reads; all else is checked by the workspace's own code."""

    train: _Train
    groups: _Groups


def _expect_paths_inside(settings: Mapping[str, Any]) -> None:
    """Of names and numbers the settings' own models know what may be; where a path leads, only who asks knows."""
    for key, value in _paths(settings, "", PATHS):
        path = PurePosixPath(value) if isinstance(value, str) else None
        if path is not None and (path.is_absolute() or ".." in path.parts or value.startswith("~") or "\0" in value):
            raise ProjectError(
                f"{PARAMS}: settings: {key}: {value!r} leads out of the run's workspace: name a path below the project"
            )


def _paths(settings: Any, where: str, patterns: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """The keys of settings that hold paths, each with its value; a `*` in a pattern is any key."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from _paths(value, f"{where}.{key}".removeprefix("."), patterns)
    elif any(fnmatch.fnmatchcase(where, pattern) for pattern in patterns):
        yield where, settings


def _expect_known(kind: str, names: list[str], table: Mapping[str, Any]) -> None:
    for name in names:
        if name not in table:
            close = difflib.get_close_matches(name, list(table), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(table)}"
            raise ProjectError(f"unknown {kind} {name!r} in the run's parameters; {hint}")
