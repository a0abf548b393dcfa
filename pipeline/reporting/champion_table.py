"""Does it work? The champion on validation, on the official test, and on every external test that was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline import outcomes, paths
from pipeline.evaluation.formatting import Row, estimate, markdown
from pipeline.files import read_json
from pipeline.reporting import external_table

NONE = "No champion yet."
SAME = 0.001  # AUC: float16 weights and another runtime move it less
TITLES = {"validation": "validation patients", "stress": "the same, changed (stress)", "test": "official test set"}
POINTS = ("lower", "sensitive")  # the point of the verdict, in a contract of today and in one of 0.1.0


def table(folder: Path, candidate: Row) -> str:
    """The champion's metrics as Markdown, and what a reader has to know of them; `folder` is metrics/."""
    contract = champion_contract()
    if contract is None:
        return NONE
    sites = external_table.sites(folder, contract["version"])
    lines = [
        _grid(folder, contract, sites),
        "",
        f"Champion: `{contract['version']}`, as it is served, at the lower threshold of its score.",
        *_points(contract),
        calibration(contract),
        *(external_table.note(site) for site in sites),
    ]
    named = (candidate["released"] or candidate)["run"]
    if named != contract["run"]:
        lines.append(f"The rule's candidate is now `{named}` (below); {_verdict(folder / 'gate.json', named)}.")
    now = _counts(folder, contract).get("test_auc")
    if now is not None and abs(now - contract["figures"]["test"]["auc"]["value"]) > SAME:
        lines.append(
            f"`{contract['run']}` has been trained again since: its rows in the tables are of the later training."
        )
    return "\n".join(lines)


def short(folder: Path) -> str:
    """The same in a few lines, for a first screen: the table, and what limits it most."""
    contract = champion_contract()
    if contract is None:
        return NONE
    sites = external_table.sites(folder, contract["version"])
    notes = [said for site in sites if (said := external_table.NOTES.get(site["name"]))]
    limits = "In brackets 95 % intervals by patient; thresholds were fixed on validation patients."
    table = _grid(folder, contract, sites, ("test",))
    return "\n".join([_works(contract, sites), "", table, "", " ".join([limits, *notes, calibration(contract)])])


def _works(contract: Row, sites: Sequence[Row]) -> str:
    """Does it work? On the official test, and on each external one, all images counted."""
    told = [
        f"ROC AUC {_of(contract['figures']['test'], 'auc')} on the official test of the hospital that it learned from"
    ]
    for site in sites:
        auc, sensitivity, specificity = external_table.metrics_of(site.get("with_refused"))
        told.append(
            f"{auc} on all {site['films']} images of the external test {site['name']}, where its threshold gives sensitivity "
            f"{sensitivity} and specificity {specificity}, and its input check rejects {external_table.rejected(site)}"
        )
    ending = "" if sites else "; it was measured on no external test"
    return f"**Does it work?** {'; '.join(told)}{ending}."


def _grid(folder: Path, contract: Row, sites: Sequence[Row], parts: Sequence[str] = tuple(TITLES)) -> str:
    metrics, counts = _names(contract), _counts(folder, contract)
    body = []
    for part in parts:
        images = counts.get("test_pictures" if part == "test" else "validation_pictures", "-")
        body.append([TITLES[part], images, "", *(_of(contract["figures"][part], name) for name in metrics)])
    for site in sites:
        body += external_table.summary_rows(site)
    header = ["measured on", "images", "rejected by the input check", "ROC AUC", "sensitivity", "specificity"]
    return markdown(header, body)


def _counts(folder: Path, contract: Row) -> Row:
    """The metrics of the champion's run in this study, with the numbers of images; empty where it is no run of it."""
    return read_json(folder / "runs" / f"{contract['run']}.json", otherwise=None) or {}


def champion_contract() -> Row | None:
    """The contract of the serving champion; None where there is none."""
    if not paths.CHAMPION.exists():
        return None
    version = paths.CHAMPION.read_text(encoding="utf-8").strip()
    return read_json(paths.CHAMPIONS / version / "contract.json", otherwise=None)


def calibration(contract: Row) -> str:
    """Intercept and slope of the served score, as a probability, on validation and on the official test."""
    told = []
    for part, title in (("validation", "on validation"), ("test", "on the official test")):
        metrics = contract["figures"][part]
        intercept, slope = (_of(metrics, f"calibration_{name}_recalibrated", 2) for name in ("intercept", "slope"))
        told.append(f"{title} intercept {intercept} and slope {slope}")
    return (
        f"Calibration of the score, read as a probability: {'; '.join(told)}. An intercept of 0 and a slope of 1 would be "
        "right; an intercept below 0 means that the score is too high. The score is no patient's risk."
    )


def _names(contract: Row) -> list[str]:
    """The metrics shown, at the point that gives the verdict."""
    metrics = contract["figures"]["test"]
    point = next((point for point in POINTS if f"sensitivity_at_{point}" in metrics), POINTS[-1])
    return ["auc", f"sensitivity_at_{point}", f"specificity_at_{point}"]


def _points(contract: Row) -> list[str]:
    """How the validation row is to be read: its threshold was fixed there, and nothing is certain."""
    said = ["Its thresholds were fixed on the validation patients, so the first row flatters it."]
    values = [contract["figures"][part].get(name, {}).get("value") for part in TITLES for name in _names(contract)]
    if 1.0 in values:
        said.append(
            "Where not one image is wrong the bootstrap says 1.000 (1.000 to 1.000): that is its limit, not certainty."
        )
    limits = outcomes.thresholds(contract)
    said.append(
        f"A score from {estimate(limits.lower.score)} to {estimate(limits.upper.score)} is indeterminate; below it no "
        "pneumonia is detected, above it are signs of pneumonia."
    )
    return said


def _verdict(path: Path, run: str) -> str:
    """What the gate said of a run's network when it was last asked."""
    gate = read_json(path, otherwise=None)
    if gate is None or not gate["version"].startswith(f"{run}-"):
        return "the gate has not been asked about it"
    if gate["passed"]:
        return "the gate passed it, and it has not been promoted yet"
    why = "; ".join(
        f"{rule['name']}, bound {estimate(rule['bound'])}, limit {estimate(rule['limit'])}"
        for rule in gate["rules"]
        if not rule["passed"]
    )
    return f"the gate, which reads validation patients alone, rejected it: {why}"


def _of(part: Mapping[str, Row], name: str, digits: int = 3) -> str:
    """A metric of a contract with its interval; a dash where the contract has none."""
    metric = part.get(name, {})
    return estimate(metric.get("value"), metric.get("low"), metric.get("high"), digits)
