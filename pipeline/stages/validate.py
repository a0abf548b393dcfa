"""Write the manifest and the quarantine list, and hold the set to its criteria."""

import logging

from pipeline import paths, settings
from pipeline.command import run
from pipeline.data import expectations, layouts, manifest, phantom, sources
from pipeline.data.patients import is_authors_name
from pipeline.errors import ProjectError
from pipeline.files import atomic_folder, read_json
from pipeline.settings import Ingest

log = logging.getLogger(__name__)

DOCS = paths.REPORTS / "validation"


def main() -> None:
    """Write data/manifest/manifest.csv and quarantine.csv, and Data Docs outside every stage's outputs."""
    parameters = settings.load()
    validate = parameters.validation
    expected = _expected(parameters.ingest)
    limits = (validate.min_side, validate.max_pixels)
    manifest.build(paths.RAW, paths.MANIFEST, paths.QUARANTINE, *limits, by_folder=not expected)
    with atomic_folder(DOCS) as docs:
        context = expectations.new_context(docs)
        unmet = expectations.check(context, paths.MANIFEST, paths.QUARANTINE, expected, validate)
        context.build_data_docs()
    for each in unmet:
        log.warning("%s: %s: %s", each.level, each.criterion, each.found)
    errors = [f"{each.criterion} ({each.found})" for each in unmet if each.level == "error"]
    if errors:
        raise ProjectError(f"the data set does not meet its criteria: {'; '.join(errors)}; see {DOCS / 'index.html'}")


def _expected(ingest: Ingest) -> dict[str, int]:
    """Images that each class should have; empty for images of one's own, which nobody has counted."""
    if ingest.dataset == "phantom":
        return phantom.counts(ingest.phantom)
    if _set_name() == layouts.OWN:
        return {}
    names = [path.rpartition("/")[2] for path in sources.image_paths(paths.RAW)]
    of_authors = 2 * sum(map(is_authors_name, names)) > len(names)
    return sources.AUTHORS if of_authors else sources.PUBLISHED


def _set_name() -> str | None:
    """What `ingest` calls the set that it brought."""
    if not paths.DATASET.exists():
        return None
    return str(read_json(paths.DATASET)["dataset"])


if __name__ == "__main__":
    run("validate", main)
