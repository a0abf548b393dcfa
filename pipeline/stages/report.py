"""Write the report, one page that needs nothing else, and the cards of the model and of the data."""

import logging

from pipeline import paths, settings
from pipeline.command import run
from pipeline.files import write_text
from pipeline.reporting import report

log = logging.getLogger("report")

STUDY = paths.ROOT / "docs" / "study.html"
PAGES = {
    "report.html.j2": paths.REPORTS / "index.html",
    "model-card.md.j2": paths.ROOT / "docs" / "model-card.md",
    "data-card.md.j2": paths.ROOT / "docs" / "data-card.md",
}


def main() -> None:
    """Write reports/index.html, docs/study.html, docs/model-card.md and docs/data-card.md."""
    context = report.collect(settings.load())
    for template, target in PAGES.items():
        text = report.render(template, context)
        write_text(target, text)
        log.info("%s: %.1f MB", target.relative_to(paths.ROOT), len(text) / 1e6)
    write_text(STUDY, report.render("report.html.j2", report.without_images(context)))
    log.info("%s, which shows no patient's image", STUDY.relative_to(paths.ROOT))


if __name__ == "__main__":
    run("report", main)
