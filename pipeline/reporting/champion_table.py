"""Does it work? The champion on validation, on the official test, and on every other hospital's films measured."""

import json
from pathlib import Path

from pipeline import paths
from pipeline.evaluation.formatting import Row, figure

SAME = 0.001  # AUC: float16 weights and another runtime move it less
FIGURES = ("auc", "sensitivity_at_sensitive", "specificity_at_sensitive")
TITLES = {"validation": "validation patients", "stress": "the same, stressed", "test": "official test set"}


def table(folder: Path, candidate: Row) -> str:
    """The champion's figures as Markdown, and what a reader has to know of them; `folder` is metrics/."""
    if not paths.CHAMPION.exists():
        return "No champion yet."
    version = paths.CHAMPION.read_text(encoding="utf-8").strip()
    contract = json.loads((paths.CHAMPIONS / version / "contract.json").read_text(encoding="utf-8"))
    sites = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / "site").glob("*.json"))]
    sites = [site for site in sites if site["version"] == version]
    lines = ["| measured on | ROC AUC | sensitivity | specificity | refused by the guard |", "|---|---|---|---|---|"]
    for part, title in TITLES.items():
        cells = [
            figure(*(contract["figures"][part][name][key] for key in ("value", "low", "high"))) for name in FIGURES
        ]
        lines.append(f"| {title} | {' | '.join(cells)} | |")
    for site in sites:
        refused = figure(*site["share_refused_by_guard"])
        parts = {"": site["accepted"], **{f", {view} alone": one for view, one in site.get("views", {}).items()}}
        for title, part in parts.items():
            cells = [figure(*part.get(name, [None])) for name in FIGURES]
            lines.append(
                f"| another hospital: {site['name']}{title} | {' | '.join(cells)} | {'' if title else refused} |"
            )
    lines += ["", f"Champion: `{version}`, as it is served, at its sensitive operating point.", *_points(contract)]
    lines += [_views(site) for site in sites if "views" in site]
    named = (candidate["released"] or candidate)["run"]
    if named != contract["run"]:
        lines.append(f"The rule's candidate is now `{named}` (below); {_verdict(folder / 'gate.json', named)}.")
    own = folder / "runs" / f"{contract['run']}.json"
    now = json.loads(own.read_text(encoding="utf-8"))["test_auc"] if own.exists() else None
    if now is not None and abs(now - contract["figures"]["test"]["auc"]["value"]) > SAME:
        lines.append(
            f"`{contract['run']}` has been trained again since: its rows in the tables are of the later training."
        )
    return "\n".join(lines)


def _points(contract: Row) -> list[str]:
    """How the validation row is to be read: its threshold was fixed there, and nothing is certain."""
    said = ["Its thresholds were fixed on the validation patients, so the first row flatters it."]
    found = [contract["figures"][part][name]["value"] for part in TITLES for name in FIGURES]
    if 1.0 in found:
        said.append(
            "Where not one picture is wrong the bootstrap says 1.000 (1.000 to 1.000): that is its limit, not certainty."
        )
    points = {name: point["threshold"] for name, point in contract["operating_points"].items()}
    if points["specific"] < points["sensitive"]:
        said.append(
            f"The specific point ({figure(points['specific'])}) lies below the sensitive one "
            f"({figure(points['sensitive'])}): on validation both promises hold at any threshold between them."
        )
    return said


def _views(site: Row) -> str:
    """What the view of an answered film tells of its class, without the film."""
    counts = {view: (one["pneumonia"], one["pneumonia"] + one["normal"]) for view, one in site["views"].items()}
    share = {view: ill / every for view, (ill, every) in counts.items() if every}
    if not share:
        return f"Of the films of {site['name']} none was answered."
    told = " and ".join(f"{value:.0%} of {view}" for view, value in share.items())
    return (
        f"Of the films of {site['name']} that were answered, {told} show pneumonia: "
        "the rows by view leave out what the view itself tells."
    )


def _verdict(path: Path, run: str) -> str:
    """What the gate said of a run's network when it was last asked."""
    gate = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if gate is None or not gate["version"].startswith(f"{run}-"):
        return "the gate has not been asked about it"
    if gate["passed"]:
        return "the gate passed it, and it has not been promoted yet"
    why = "; ".join(
        f"{rule['name']}, bound {figure(rule['bound'])}, limit {figure(rule['limit'])}"
        for rule in gate["rules"]
        if not rule["passed"]
    )
    return f"the gate, which reads validation patients alone, rejected it: {why}"
