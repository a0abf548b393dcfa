"""Arrays and data groups; then, as the last line, the environment of each training as JSON for the scheduler."""

import json
import os
import sys

from pipeline.command import run
from pipeline.retraining import sharing
from pipeline.retraining.place import runs_of
from pipeline.retraining.step import reproduce


def main() -> None:
    """Reproduce preprocess and groups, and print one environment for each line of train.runs."""
    folder = reproduce(["preprocess", "groups"])
    common = {name: os.environ.get(name, "") for name in ("RETRAIN_PARAMS", "RETRAIN_COMMIT")}
    if sharing.is_on():
        common[sharing.LOCK] = sharing.describe_inputs(folder)
    sys.stdout.write(json.dumps([{"RETRAIN_RUN": name, **common} for name in runs_of(folder)]) + "\n")


if __name__ == "__main__":
    run("retraining", main)
