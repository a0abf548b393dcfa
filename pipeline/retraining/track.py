"""Publish the run's results to MLflow, and note that the retraining came to its end."""

import logging
import os
import sys

from pipeline import paths
from pipeline.retraining import detect_new_data, seen_data, workspaces
from pipeline.retraining import request as requests
from pipeline.retraining.subprocesses import call, end_with_parent

log = logging.getLogger("track")


def main() -> None:
    """Publish; a tracking server that is down fails nothing, since the next call makes up for it."""
    end_with_parent()
    folder = workspaces.workspace_of(requests.from_environment())
    # One store for all retrainings, not one in each workspace.
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{paths.ROOT / 'mlflow.db'}")
    if call([sys.executable, "-m", "pipeline.tracking.publish"], folder) != 0:
        log.warning("the results were not tracked; `make track` in %s makes up for it", folder)
    if workspaces.was_whole(folder):
        seen_data.remember(detect_new_data.names_of(folder))
    workspaces.note_finished(folder)
