"""Bring the images to data/raw, from Kaggle, from a folder (CXR_DATA), or generated; say which set it is."""

import errno
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from pipeline import paths, settings
from pipeline.command import run
from pipeline.data import kaggle, layouts, phantom, sources
from pipeline.errors import ProjectError
from pipeline.files import atomic_folder, write_json
from pipeline.settings import Ingest

log = logging.getLogger(__name__)


def main() -> None:
    """Write data/raw and data/dataset.json."""
    ingest = settings.load().ingest
    try:
        dataset = _fill(ingest)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ProjectError(f"the disk is full: {paths.RAW} was not written") from None
        raise
    write_json(paths.DATASET, dataset)
    log.info("%(pictures)d images of %(dataset)s, edition %(edition)s", dataset)


def _fill(ingest: Ingest) -> dict[str, Any]:
    """Write data/raw; what stands there is replaced only by a whole set."""
    copy = os.environ.get("CXR_DATA")
    layout = None
    if ingest.dataset != "phantom":
        layout = layouts.find(Path(copy).expanduser() if copy else kaggle.download(paths.CACHE / "kagglehub"))
        log.info(layout.summary())
    for left in paths.DATA.glob(f".{paths.RAW.name}.*.tmp"):  # of a run that was killed
        shutil.rmtree(left)
    with atomic_folder(paths.RAW) as raw:
        if layout is None:
            phantom.generate(ingest.phantom, raw)
        else:
            # Links only into our own download: a file of somebody else's must not change with ours.
            sources.take(layout.images, raw, link=not copy)
        return sources.describe(raw, layout.dataset if layout else ingest.dataset)


if __name__ == "__main__":
    run("ingest", main)
