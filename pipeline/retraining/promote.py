"""Make the candidate the champion of the run's workspace; what serves elsewhere changes only in `deliver`."""

import sys

from pipeline.retraining import request as requests
from pipeline.retraining.subprocesses import check, end_with_parent
from pipeline.retraining.workspaces import workspace_of


def main() -> None:
    """Promote, with the gate asked once more. Promoting twice changes nothing."""
    end_with_parent()
    folder = workspace_of(requests.from_environment())
    check([sys.executable, "-m", "pipeline.registry.champion", "promote"], folder, "promote")
