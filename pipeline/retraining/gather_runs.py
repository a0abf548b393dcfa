"""Every training of the run in one workspace and one dvc.lock, whoever trained it."""

from pathlib import Path

from pipeline import dvc
from pipeline.retraining import remote
from pipeline.retraining import request as requests
from pipeline.retraining.subprocesses import check, end_with_parent
from pipeline.retraining.workspaces import runs_of, workspace_of

# DVC hands a stage's command to $SHELL: this one refuses it, and says which.
NO_SHELL = Path(__file__).with_name("no_training.sh")


def main() -> None:
    """Reproduce all trainings: nothing is left to do where they ran here, and the run cache has them where not.

    Raises:
        ProjectError: one is neither here nor in the run cache; it is not trained in passing.
    """
    end_with_parent()
    folder = workspace_of(requests.from_environment())
    stages = [f"{stage}{name}" for name in runs_of(folder) for stage in dvc.OF_A_RUN]
    pull = ["--pull"] if remote.is_on() else []
    command = dvc.command("--wait-for-lock", "repro", "--single-item", *pull, *stages)
    check(command, folder, "gather_runs", SHELL=str(NO_SHELL))
