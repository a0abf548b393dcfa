"""Every training of the run in one workspace and one dvc.lock, whoever trained it."""

from pipeline import dvc
from pipeline.command import run
from pipeline.retraining import request as requests
from pipeline.retraining import sharing
from pipeline.retraining.place import runs_of, workspace_of
from pipeline.retraining.processes import check, end_with_parent


def main() -> None:
    """Reproduce all trainings: nothing is left to do where they ran here, and the run cache has them where not."""
    end_with_parent()
    folder = workspace_of(requests.from_environment())
    stages = [f"train@{name}" for name in runs_of(folder)]
    pull = ["--pull"] if sharing.is_on() else []
    check(dvc.command("--wait-for-lock", "repro", "--single-item", *pull, *stages), folder, "collect")


if __name__ == "__main__":
    run("retraining", main)
