"""The gate's decision on the candidate. A rejected one is no failure: status 99, and nothing is promoted."""

import json
import logging
import sys

from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.retraining import request as requests
from pipeline.retraining import rival
from pipeline.retraining.look import NOTHING_TO_DO
from pipeline.retraining.place import workspace_of
from pipeline.retraining.processes import check, end_with_parent

log = logging.getLogger("gate")


def main() -> None:
    """Ask the gate; tell "rejected" from "could not decide"."""
    end_with_parent()
    folder = workspace_of(requests.from_environment())
    rival.take(folder)
    decision = folder / "metrics" / "gate.json"
    decision.unlink(missing_ok=True)
    try:
        check([sys.executable, "-m", "pipeline.registry.gate"], folder, "gate")
    except ProjectError:
        if decision.is_file() and not json.loads(decision.read_text(encoding="utf-8"))["passed"]:
            log.info("rejected: the candidate stays a challenger, and nothing that serves changes")
            sys.exit(NOTHING_TO_DO)
        raise


if __name__ == "__main__":
    run("retraining", main)
