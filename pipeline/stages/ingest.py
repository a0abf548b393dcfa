"""Bring the pictures to data/raw, from Kaggle, from a copy of it (CXR_DATA), or generated; say which set it is."""

import logging
import os
from pathlib import Path

from pipeline import paths, settings
from pipeline.command import run
from pipeline.data import sources
from pipeline.errors import ProjectError
from pipeline.files import atomic_folder, write_json

log = logging.getLogger(__name__)


def main() -> None:
    """Write data/raw and data/dataset.json."""
    ingest = settings.load().ingest
    if ingest.dataset == "phantom":
        raise ProjectError("phantoms are not there yet")
    copy = os.environ.get("CXR_DATA")
    if not copy:
        raise ProjectError("set CXR_DATA")
    classes = sources.find_tree(Path(copy))
    with atomic_folder(paths.RAW) as raw:
        sources.take(classes, raw, link=not copy)
        dataset = sources.describe(raw, ingest.dataset)
    write_json(paths.DATASET, dataset)
    log.info("%(pictures)d pictures of %(dataset)s, edition %(edition)s", dataset)


if __name__ == "__main__":
    run("ingest", main)
