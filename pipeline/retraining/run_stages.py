"""One or more stages of the pipeline, by `dvc repro`, in the workspace of a retraining."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import yaml

from pipeline import dvc, gpu, paths
from pipeline.errors import ProjectError
from pipeline.files import read_json
from pipeline.retraining import detect_new_data, remote
from pipeline.retraining import request as requests
from pipeline.retraining.subprocesses import check, end_with_parent
from pipeline.retraining.workspaces import workspace_of


def main() -> None:
    """Reproduce the stages named on the command line, one after the other."""
    stages = sys.argv[1:]
    if not stages:
        raise ProjectError("name one or more stages of dvc.yaml")
    reproduce(stages)


def reproduce(stages: list[str]) -> Path:
    """Reproduce stages in the run's workspace, and share them where several machines work; return the workspace.

    Raises:
        ProjectError: a stage failed, or the remote did; the message holds the stage's own last word.
    """
    end_with_parent()
    request = requests.from_environment()
    folder = workspace_of(request)
    if remote.is_on():
        remote.take_inputs(folder, os.environ.get(remote.LOCK, ""))
    if any(stage.startswith(dvc.TRAIN) for stage in stages):
        gpu.warn_of_unseen()
    for stage in stages:
        again = (request.force and stage.startswith(dvc.TRAIN)) or (stage == "ingest" and source_differs(folder))
        force = ["--force"] if again else []
        command = dvc.command("--wait-for-lock", "repro", "--single-item", *force, stage)
        held: AbstractContextManager[dict[str, str]] = gpu.one() if stage.startswith(dvc.TRAIN) else nullcontext({})
        with held as visible:
            check(command, folder, stage, **visible)
    if remote.is_on():
        of_runs = [stage for stage in stages if stage.startswith(dvc.OF_A_RUN)]
        if of_runs:  # what git keeps enters the run cache by a commit alone
            check(dvc.command("--wait-for-lock", "commit", "--force", *of_runs), folder, "commit")
        remote.push(folder, stages)
    return folder


def source_differs(folder: Path) -> bool:
    """Whether CXR_DATA holds other images than the workspace. DVC does not look there: it would bring back the last ones.

    Raises:
        ProjectError: the source is not there, or is no copy of the data set.
    """
    ingest = yaml.safe_load((folder / paths.PARAMS.name).read_text(encoding="utf-8"))["ingest"]
    if ingest["dataset"] == "phantom" or not os.environ.get("CXR_DATA"):
        return False
    known = folder / paths.DATASET.relative_to(paths.ROOT)
    return not known.is_file() or read_json(known)["digest"] != detect_new_data.identify(ingest)
