"""Make the candidate the champion of the run's workspace; what serves elsewhere changes only in `deliver`."""

import sys

from pipeline.command import run
from pipeline.retraining import request as requests
from pipeline.retraining.place import workspace_of
from pipeline.retraining.processes import check, end_with_parent


def main() -> None:
    """Promote, with the gate asked once more. Promoting twice changes nothing."""
    end_with_parent()
    folder = workspace_of(requests.from_environment())
    check([sys.executable, "-m", "pipeline.registry.champion", "promote"], folder, "promote")


if __name__ == "__main__":
    run("retraining", main)
