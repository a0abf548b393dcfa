"""Write the manifest and the quarantine list, and hold the set to its promises."""

import logging

from pipeline import paths, settings
from pipeline.command import run
from pipeline.data import manifest

log = logging.getLogger(__name__)


def main() -> None:
    """Write data/manifest/manifest.csv and quarantine.csv."""
    validate = settings.load().validate
    manifest.build(paths.RAW, paths.MANIFEST, paths.QUARANTINE, validate.min_side, validate.max_pixels)


if __name__ == "__main__":
    run("validate", main)
