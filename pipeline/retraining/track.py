"""Publish the run's results to MLflow, and note that the retraining came to its end."""

import logging
import os
import sys

from pipeline import paths
from pipeline.command import run
from pipeline.retraining import look, memory, place
from pipeline.retraining import request as requests
from pipeline.retraining.processes import call, end_with_parent

log = logging.getLogger("track")


def main() -> None:
    """Publish; a tracking server that is down fails nothing, since the next call makes up for it."""
    end_with_parent()
    folder = place.workspace_of(requests.from_environment())
    # One store for all retrainings, not one in each workspace.
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{paths.ROOT / 'mlflow.db'}")
    if call([sys.executable, "-m", "pipeline.registry.tracking"], folder) != 0:
        log.warning("the results were not tracked; `make track` in %s makes up for it", folder)
    if place.was_whole(folder):
        memory.remember(look.names_of(folder))
    place.note_finished(folder)


if __name__ == "__main__":
    run("retraining", main)
