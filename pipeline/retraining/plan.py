"""Make the workspace of a retraining: the last line is JSON for the scheduler."""

import json
import sys

from pipeline import paths
from pipeline.retraining import incumbent, workspaces
from pipeline.retraining import request as requests
from pipeline.retraining.subprocesses import output


def main() -> None:
    """Print the commit that all tasks of the run work on, on whatever machine: the one that its workspace was made at."""
    incumbent.expect_whole()
    head = output(["git", "rev-parse", "HEAD"], paths.ROOT, "git").strip()
    folder = workspaces.workspace_of(requests.from_environment().model_copy(update={"commit": head}))
    sys.stdout.write(json.dumps({"RETRAIN_COMMIT": workspaces.commit_of(folder)}) + "\n")
