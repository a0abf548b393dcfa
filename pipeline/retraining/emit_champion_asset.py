"""Has this run's candidate become the champion that serves? Then this command, and its task with an Asset, succeeds."""

import logging
import sys

from pipeline import paths
from pipeline.registry import contract, record
from pipeline.retraining import request as requests
from pipeline.retraining.detect_new_data import NOTHING_TO_DO
from pipeline.retraining.subprocesses import end_with_parent
from pipeline.retraining.workspaces import workspace_of

log = logging.getLogger("emit_champion_asset")


def main() -> None:
    """Compare the checkout's champion with the candidate of the run's workspace; status 99 when it is another."""
    end_with_parent()
    candidate = workspace_of(requests.from_environment()) / paths.CANDIDATE.relative_to(paths.ROOT)
    champion = record.champion()
    if champion is None or not candidate.is_dir() or contract.read(candidate)["version"] != champion:
        log.info("nothing to announce: the champion that serves is %s", champion or "none")
        sys.exit(NOTHING_TO_DO)
    log.info("%s serves now", champion)
