"""Make the workspace of a retraining: the last line is JSON for the scheduler."""

import json
import sys

from pipeline import paths
from pipeline.command import run
from pipeline.retraining import place, rival
from pipeline.retraining import request as requests
from pipeline.retraining.processes import output


def main() -> None:
    """Print the commit that all tasks of the run work on, on whatever machine: the one that its workspace was made at."""
    rival.expect_whole()
    head = output(["git", "rev-parse", "HEAD"], paths.ROOT, "git").strip()
    folder = place.workspace_of(requests.from_environment().model_copy(update={"commit": head}))
    sys.stdout.write(json.dumps({"RETRAIN_COMMIT": place.commit_of(folder)}) + "\n")


if __name__ == "__main__":
    run("retraining", main)
