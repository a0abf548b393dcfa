"""Write the manifest and the quarantine list, and hold the set to its promises."""

import logging

from pipeline import paths, settings
from pipeline.command import run
from pipeline.data import expectations, manifest, phantom, sources
from pipeline.errors import ProjectError
from pipeline.files import atomic_folder
from pipeline.settings import Ingest

log = logging.getLogger(__name__)

DOCS = paths.REPORTS / "validation"


def main() -> None:
    """Write data/manifest/manifest.csv and quarantine.csv, and Data Docs outside every stage's outputs."""
    parameters = settings.load()
    validate = parameters.validation
    manifest.build(paths.RAW, paths.MANIFEST, paths.QUARANTINE, validate.min_side, validate.max_pixels)
    with atomic_folder(DOCS) as docs:
        context = expectations.new_context(docs)
        expected = _expected(parameters.ingest)
        broken = expectations.check(context, paths.MANIFEST, paths.QUARANTINE, expected, validate)
        context.build_data_docs()
    for promise in broken:
        log.warning("%s: %s: %s", promise.level, promise.promise, promise.found)
    errors = [f"{promise.promise} ({promise.found})" for promise in broken if promise.level == "error"]
    if errors:
        raise ProjectError(f"the data set breaks its promises: {'; '.join(errors)}; see {DOCS / 'index.html'}")


def _expected(ingest: Ingest) -> dict[str, int]:
    """Pictures that each class should have."""
    return phantom.counts(ingest.phantom) if ingest.dataset == "phantom" else sources.PUBLISHED


if __name__ == "__main__":
    run("validate", main)
