"""The champion on external test sets: all images beside those that the input check let through, and subgroups."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.evaluation.formatting import Row, estimate, markdown
from pipeline.files import read_json

METRICS = ("auc", "sensitivity_at_sensitive", "specificity_at_sensitive")
SUBGROUPS = {"views": "view", "sexes": "sex", "ages": "age"}
# What a reader must know of a set, and the images cannot say. By the set's name.
NOTES = {
    "nih-adults": (
        "These are adults, read by the radiologists of the RSNA 2018 challenge. The readers' middle class, neither normal nor "
        "with an opacity, is not among these images, so real patients would be harder to tell apart."
    ),
}
NOTHING: Row = {}


def sites(folder: Path, version: str | None = None) -> list[Row]:
    """The measured sets of metrics/site/, all or those of one champion's version."""
    reports = [read_json(path) for path in sorted((folder / "site").glob("*.json"))]
    return [site for site in reports if version in (None, site["version"])]


def summary_rows(site: Row) -> list[list[Any]]:
    """All images, the same with rejections as errors, those let through, and each view: rows of the champion's table."""
    name, count = f"external test ({site['name']})", rejected(site)
    let_through = site["accepted"]["normal"] + site["accepted"]["pneumonia"]
    rows = [
        [f"{name}, all images, rejected ones scored too", site["films"], count, *metrics_of(site.get("with_refused"))],
        [
            "the same, rejected images counted as errors",
            site["films"],
            count,
            *metrics_of(site.get("refused_as_errors")),
        ],
        ["the same, only images let through", let_through, "0", *metrics_of(site["accepted"])],
    ]
    for view, part in site.get("views", {}).items():
        rows.append(
            [f"the same, {view}, all images", part["films"], part["refused"], *metrics_of(part.get("with_refused"))]
        )
    return rows


def table(folder: Path, version: str | None) -> str:
    """Markdown: each set of the champion, whole and by view, sex and age, with rejections as they are and as errors."""
    parts = [_site(site) for site in sites(folder, version)]
    return "\n\n".join(parts) or "The champion has not been measured on an external test yet (`make evaluate-site`)."


def note(site: Row) -> str:
    """What the images of a set are, and what their view tells of the class."""
    said = [NOTES[site["name"]]] if site["name"] in NOTES else []
    if views := site.get("views"):
        said.append(_views(site["name"], views))
    return " ".join(said)


def _site(site: Row) -> str:
    header = ["images of", "images", "pneumonia / normal", "rejected"]
    header += [
        f"{metric}, {who}"
        for who in ("all", "let through", "rejections as errors")
        for metric in ("AUC", "sensitivity", "specificity")
    ]
    site_row = {"films": site["films"], "refused": rejected(site), **site["accepted"]}
    site_row |= {name: site.get(name) for name in ("with_refused", "refused_as_errors")}
    body = [_row(f"{site['name']}, all", site_row)]
    for key, title in SUBGROUPS.items():
        groups = site.get(key, {})
        body += [_row(f"{title} {name}", groups[name]) for name in sorted(groups, key=_place)]
    calibration = " and ".join(
        f"{name} {_figure(site['accepted'], f'calibration_{name}', 2)}" for name in ("intercept", "slope")
    )
    said = [
        f"{site['films']} images of {site['patients']} patients, version `{site['version']}`, at the lower threshold of the "
        "score.",
    ]
    said.append(f"Calibration of the score on the images let through: {calibration}.")
    said.append(note(site))
    return f"{markdown(header, body)}\n\n{' '.join(filter(None, said))}"


def _place(group: str) -> tuple[bool, int, str]:
    """Where a group stands among others: ages by their years, then names."""
    years = re.search(r"[0-9]+", group)
    return years is None, int(years[0]) * (not group.startswith("under")) if years else 0, group


def _row(title: str, part: Row) -> list[Any]:
    all_images = part.get("with_refused") or NOTHING
    counts = f"{all_images.get('pneumonia', '-')} / {all_images.get('normal', '-')}"
    cells = [cell for each in (all_images, part, part.get("refused_as_errors")) for cell in metrics_of(each)]
    return [title, part["films"], counts, part["refused"], *cells]


def metrics_of(part: Row | None) -> list[str]:
    """ROC AUC, sensitivity and specificity of a part, dashes where it has none."""
    return [_figure(part or NOTHING, name) for name in METRICS]


def _figure(part: Row, name: str, digits: int = 3) -> str:
    value, low, high = part.get(name, [None, None, None])
    return estimate(value, low, high, digits)


def rejected(site: Row) -> int:
    """Images without an answer: rejected by the input check, or unreadable."""
    return int(sum(site.get("refusals", {}).values()))


def _views(name: str, views: Mapping[str, Row]) -> str:
    """What the view of an image let through tells of its class, without the image."""
    counts = {view: (part["pneumonia"], part["pneumonia"] + part["normal"]) for view, part in views.items()}
    share = {view: ill / every for view, (ill, every) in counts.items() if every}
    if not share:
        return f"Of the images of {name} none was let through."
    told = " and ".join(f"{value:.0%} of {view}" for view, value in share.items())
    return (
        f"Of the images of {name} that were let through, {told} show pneumonia: the rows by view leave out what the view "
        "itself tells."
    )
