"""Arrays and data groups; then, as the last line, the environment of each training as JSON for the scheduler."""

import json
import os
import sys

from pipeline.retraining import remote
from pipeline.retraining.run_stages import reproduce
from pipeline.retraining.workspaces import runs_of


def main() -> None:
    """Reproduce preprocess and groups, and print one environment for each line of train.runs."""
    folder = reproduce(["preprocess", "groups"])
    common = {name: os.environ.get(name, "") for name in ("RETRAIN_PARAMS", "RETRAIN_COMMIT")}
    if remote.is_on():
        common[remote.LOCK] = remote.describe_inputs(folder)
    sys.stdout.write(json.dumps([{"RETRAIN_RUN": name, **common} for name in runs_of(folder)]) + "\n")
