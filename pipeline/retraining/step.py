"""One or more stages of the pipeline, by `dvc repro`, in the workspace of a retraining."""

import os
import sys
from pathlib import Path

from pipeline import dvc
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.retraining import request as requests
from pipeline.retraining import sharing
from pipeline.retraining.place import workspace_of
from pipeline.retraining.processes import check, end_with_parent


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
    if sharing.is_on():
        sharing.take_inputs(folder, os.environ.get(sharing.LOCK, ""))
    for stage in stages:
        force = ["--force"] if request.force and stage.startswith("train@") else []
        check(dvc.command("--wait-for-lock", "repro", "--single-item", *force, stage), folder, stage)
    if sharing.is_on():
        sharing.push(folder, stages)
    return folder


if __name__ == "__main__":
    run("retraining", main)
