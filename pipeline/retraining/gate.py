"""The gate's decision on the candidate. A rejected one is no failure: status 99, and nothing is promoted."""

import logging
import sys

from pipeline.errors import ProjectError
from pipeline.files import read_json
from pipeline.retraining import incumbent
from pipeline.retraining import request as requests
from pipeline.retraining.detect_new_data import NOTHING_TO_DO
from pipeline.retraining.subprocesses import check, end_with_parent
from pipeline.retraining.workspaces import workspace_of

log = logging.getLogger("gate")


def main() -> None:
    """Ask the gate; tell "rejected" from "could not decide"."""
    end_with_parent()
    folder = workspace_of(requests.from_environment())
    incumbent.take(folder)
    decision = folder / "metrics" / "gate.json"
    decision.unlink(missing_ok=True)
    try:
        check([sys.executable, "-m", "pipeline.registry.gate", "--keep"], folder, "gate")
    except ProjectError:
        if decision.is_file() and not read_json(decision)["passed"]:
            log.info("rejected: the candidate stays a challenger, and nothing that serves changes")
            sys.exit(NOTHING_TO_DO)
        raise
