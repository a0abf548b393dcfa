"""The committed figures as Markdown, put between markers of README.md and docs/results.md.

    python -m pipeline.evaluation.documents

A marker pair looks like `<!-- table2 -->` ... `<!-- /table2 -->`; what stands between is replaced. Every figure in a
document comes from metrics/, so a document cannot say what was not measured.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import paths, settings
from pipeline.command import run as run_command
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import findings, published, speed
from pipeline.evaluation.measure import UNDEFINED
from pipeline.evaluation.tables import FLOOR
from pipeline.files import write_text

log = logging.getLogger("documents")

DOCUMENTS = ("README.md", "docs/results.md")
MARKER = re.compile(r"(<!-- (?P<name>[a-z0-9-]+) -->\n).*?(<!-- /(?P=name) -->)", re.DOTALL)
Row = Mapping[str, Any]


def main() -> None:
    """Refresh the marked blocks of every document that is there."""
    rendered = blocks(paths.METRICS, settings.load())
    for name in DOCUMENTS:
        path = paths.ROOT / name
        if path.exists():
            write_text(path, insert(path.read_text(encoding="utf-8"), rendered, name))
            log.info("%s", name)


def insert(text: str, rendered: Mapping[str, str], name: str = "the document") -> str:
    """`text` with every marked block replaced.

    Raises:
        ProjectError: a marker names a block that does not exist.
    """

    def replace(match: re.Match[str]) -> str:
        if match["name"] not in rendered:
            raise ProjectError(f"{name}: no block {match['name']!r}; known: {', '.join(rendered)}")
        return f"{match[1]}{rendered[match['name']]}\n{match[3]}"

    return MARKER.sub(replace, text)


def blocks(folder: Path, options: settings.Settings) -> dict[str, str]:
    """Every block by name, from the files in metrics/."""
    if not (folder / "candidate.json").exists():
        raise ProjectError("metrics/candidate.json is missing: run compare first (dvc repro compare)")
    table2, table3 = read_table(folder / "table2.csv"), read_table(folder / "table3.csv")
    contrasts = read_table(folder / "contrasts.csv")
    candidate = json.loads((folder / "candidate.json").read_text(encoding="utf-8"))
    names = [name for name in [*options.table, FLOOR] if (folder / "runs" / f"{name}.json").exists()]
    runs = [json.loads((folder / "runs" / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    caption = _caption(runs[0])
    made = {
        "table2": _results(table2),
        "table3": _results(table3),
        "table2-classes": _classes(table2),
        "table3-classes": _classes(table3),
        "learning": _learning(runs),
        "splits": _splits(runs),
        "operating": _operating(runs, options.evaluate.prevalence),
        "calibration": _calibration(runs),
        "subtypes": _subtypes(runs),
        "stress": _stress(runs),
        "seeds": _seeds(runs, options.table),
        "contrasts": _contrasts(row for row in contrasts if not row["p_holm"]),
        "winner": _contrasts((row for row in contrasts if row["p_holm"] and row["figure"] == "test_auc"), holm=True),
        "findings": findings.table(contrasts, candidate["best"]),
        "candidate": _candidate(candidate),
        "answer": _answer(folder),
    }
    captioned = {name: f"{caption}\n\n{text}" for name, text in made.items()}
    return captioned | {"speed": speed.table(paths.ROOT / "benchmarks" / "measured.json")}


def figure(value: Any, low: Any = None, high: Any = None, digits: int = 3) -> str:
    """A figure for a reader: `.943 (.925 to .960)`; "undefined" as it is; a dash where there is none."""
    if value in ("", None):
        return "-"
    if value == UNDEFINED:
        return UNDEFINED
    text = _short(value, digits)
    return text if low in ("", None) else f"{text} ({_short(low, digits)} to {_short(high, digits)})"


def _short(value: Any, digits: int) -> str:
    return UNDEFINED if value == UNDEFINED else re.sub(r"^(-?)0\.", r"\1.", f"{float(value):.{digits}f}")


def _of(row: Row, name: str, digits: int = 3) -> str:
    """A figure of a row with its interval."""
    return figure(row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high"), digits)


def _pair(row: Row, name: str, digits: int = 3) -> str:
    """The same figure of normal and of pneumonia."""
    ends = [_of(row, f"{name}_{label}", digits) for label in ("normal", "pneumonia")]
    return "-" if ends == ["-", "-"] else " / ".join(ends)


def _markdown(header: Sequence[str], body: Iterable[Sequence[Any]]) -> str:
    lines = [" | ".join(header), " | ".join("---" for _ in header)]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(map(str, row)) for row in body)])


def _caption(run: Row) -> str:
    patients = f"{run['test_pictures']} test pictures of {run['test_patients']} patients"
    validation = f"{run['validation_pictures']} validation pictures of {run['validation_patients']} patients"
    bars = f"{patients}, {validation}; in brackets 95 % intervals by patient."
    if run["dataset"] != published.DATASET:
        return f"**Generated radiographs ({run['dataset']}): these figures say nothing about children.** {bars}"
    return f"{run['dataset']}, {run['edition']} edition: {bars}"


def _who(row: Row) -> list[str]:
    """What every row says of itself: run, starting weights, backend, precision, epochs, seed and how many seeds there are."""
    if row["run"] == FLOOR:
        return ["**floor without lungs**", row["backend"], "-", "-"]
    if row["status"] == "not run":
        return [row["run"], row["weights"], "-", f"{row['seed']}"]
    seeds = "one seed" if row["seeds"] == "1" else f"{row['seeds']} seeds"
    collapsed = " **(collapsed)**" if row["status"] == "collapsed" else ""
    return [
        f"{row['run']}{collapsed}",
        f"{row['weights']}, {row['backend']}, {row['precision']}",
        row["epochs"],
        f"{row['seed']} ({seeds})",
    ]


WHO = ["run", "start, backend, precision", "epochs", "seed"]


def _results(table: Sequence[Row]) -> str:
    header = [*WHO, "accuracy", "published", "ROC AUC", "balanced accuracy", 'published "AUC"']
    header += ["sensitivity", "published", "specificity", "published"]
    body = []
    for row in table:
        line = _who(row)
        if row["status"] == "not run":
            body.append([*line, "not run", *["-"] * (len(header) - len(line) - 1)])
            continue
        line += [_of(row, "accuracy"), _of(row, "published_accuracy"), _of(row, "auc")]
        line += [_of(row, "balanced_accuracy"), _of(row, "published_auc_of_rounded")]
        for name in ("recall_pneumonia", "recall_normal"):
            line += [_of(row, name), _of(row, f"published_{name}", 2)]
        body.append(line)
    return _markdown(header, body)


def _classes(table: Sequence[Row]) -> str:
    header = ["run", "precision normal / pneumonia", "published", "F1 normal / pneumonia", "published"]
    header += ["macro recall, precision, F1", "loss", "published", "TN FP / FN TP", "published"]
    body = []
    for row in table:
        if row["status"] == "not run":
            body.append([row["run"], "not run", *["-"] * (len(header) - 2)])
            continue
        line = [row["run"]]
        for name in ("precision", "f1"):
            line += [_pair(row, name), _pair({**row, **_bare(row, f"published_{name}")}, f"published_{name}", 2)]
        line.append(", ".join(figure(row[f"{name}_macro"]) for name in ("recall", "precision", "f1")))
        line += [_of(row, "log_loss"), figure(row["published_loss"]), _counts(row, ""), _counts(row, "published_")]
        body.append(line)
    return _markdown(header, body)


def _bare(row: Row, name: str) -> dict[str, str]:
    """Drop the intervals of a published pair: both together fill the page."""
    return {f"{name}_{label}_{end}": "" for label in ("normal", "pneumonia") for end in ("low", "high")}


def _counts(row: Row, prefix: str) -> str:
    tn, fp, fn, tp = (row[f"{prefix}{name}"] for name in ("tn", "fp", "fn", "tp"))
    return f"{tn} {fp} / {fn} {tp}" if tn else "-"


def _learning(runs: Sequence[Row]) -> str:
    header = ["run", "pictures", "steps", "epochs", "epochs to 95 %", "training accuracy", "training - validation"]
    body = [
        [
            run["run"],
            run["training_pictures"],
            run["steps"],
            run["epochs"],
            run["epochs_to_95"],
            figure(run["training_accuracy"]),
            figure(run["training_gap"]),
        ]
        for run in runs
        if run["run"] != FLOOR
    ]
    return _markdown(header, body)


def _splits(runs: Sequence[Row]) -> str:
    header = ["run", "AUC validation", "AUC stressed", "AUC test", "specificity validation", "specificity stressed"]
    header += ["specificity test", "accuracy validation", "accuracy test", "accuracy gap"]
    names = ["validation_auc", "stress_auc", "test_auc", "validation_specificity", "stress_specificity"]
    names += ["test_specificity", "validation_accuracy", "test_accuracy", "gap_accuracy"]
    return _markdown(header, ([run["run"], *(_of(run, name) for name in names)] for run in runs))


def _operating(runs: Sequence[Row], prevalence: float) -> str:
    percent = f"{100 * prevalence:g}_percent"
    shown = ["sensitivity", "specificity", "ppv", "npv", f"ppv_{percent}", f"npv_{percent}"]
    header = ["run", "threshold", "sensitivity", "specificity", "PPV", "NPV"]
    header += [f"PPV at {100 * prevalence:g} %", f"NPV at {100 * prevalence:g} %"]
    points = (
        ("", "", "plain"),
        ("_sensitive", "_at_sensitive", "sensitive"),
        ("_specific", "_at_specific", "specific"),
    )
    body = [
        [run["run"], f"{label}: {figure(run[f'threshold{cut}'])}", *(_of(run, f"test_{name}{at}") for name in shown)]
        for run in runs
        for cut, at, label in points
    ]
    return _markdown(header, body)


def _calibration(runs: Sequence[Row]) -> str:
    shown = {
        "calibration_intercept": "intercept",
        "calibration_slope": "slope",
        "brier": "Brier",
        "log_loss": "log loss",
    }
    header = ["run", *(f"{name}{when}" for name in shown.values() for when in (" as trained", " recalibrated"))]
    body = (
        [run["run"], *(_of(run, f"test_{name}{when}") for name in shown for when in ("", "_recalibrated"))]
        for run in runs
    )
    return _markdown(header, body)


def _subtypes(runs: Sequence[Row]) -> str:
    header = ["run"]
    names = []
    for split in ("validation", "test"):
        for kind in ("bacterial", "viral"):
            header += [f"{kind} sensitivity, {split}", f"{kind} AUC, {split}"]
            names += [f"{split}_{kind}_sensitivity", f"{split}_{kind}_auc"]
    return _markdown(header, ([run["run"], *(_of(run, name) for name in names)] for run in runs))


def _stress(runs: Sequence[Row]) -> str:
    pattern = re.compile(r"stress_(.+)_auc")
    changes = [match[1] for key in runs[0] if (match := pattern.fullmatch(key))]
    header = ["run", "clean", *changes, "pooled"]
    body = (
        [
            run["run"],
            figure(run["validation_auc"]),
            *(figure(run[f"stress_{change}_auc"]) for change in changes),
            _of(run, "stress_auc"),
        ]
        for run in runs
    )
    return _markdown(header, body)


def _seeds(runs: Sequence[Row], plan: Mapping[str, settings.Run]) -> str:
    """Mean and range over seeds, where a network and group has several; a row of one seed says so."""
    header = ["network", "group", "seeds", "test accuracy", "test AUC", "stressed validation AUC"]
    together: dict[tuple[str, str], list[Row]] = {}
    for run in runs:
        line = plan.get(run["run"])
        if line and run["run"] == f"{line.network}-{line.group}-{line.seed}":
            together.setdefault((line.network, line.group), []).append(run)
    body = []
    for (network, group), same in together.items():
        cells = []
        for name in ("test_accuracy", "test_auc", "stress_auc"):
            values = [float(run[name]) for run in same if run[name] != UNDEFINED]
            spread = (min(values), max(values)) if len(values) > 1 else (None, None)
            cells.append(figure(sum(values) / len(values), *spread) if values else UNDEFINED)
        body.append([network, group, len(same) if len(same) > 1 else "one seed", *cells])
    return _markdown(header, body)


def _contrasts(rows: Iterable[Row], holm: bool = False) -> str:
    header = ["contrast", "figure", "difference", "p", *(["p, Holm"] if holm else []), "over", "epochs"]
    body = [
        [
            row["contrast"],
            row["figure"].replace("_", " "),
            figure(row["difference"], row["low"], row["high"]),
            figure(row["p"]),
            *([figure(row["p_holm"])] if holm else []),
            row["over"] or "-",
            row["epochs"],
        ]
        for row in rows
    ]
    return _markdown(header, body) if body else "None yet: the runs that they compare have not been made."


def _candidate(named: Row) -> str:
    lines = [
        f"Rule: {named['rule']}.",
        f"Best on stressed validation: {named['best']}, {figure(named['best_value'])} "
        f"(standard error {figure(named['standard_error'], digits=4)}).",
        f"Candidate: **{named['run']}**, {figure(named['value'])}.",
    ]
    released = named["released"]
    if released is None:
        lines.append("None of the runs may be released.")
    elif released["run"] == named["run"]:
        lines.append("It may be released.")
    else:
        reason = next(run["not_released_because"] for run in named["considered"] if run["run"] == named["run"])
        value, low, high = released["cost_stress_auc"]
        lines.append(f"It may not be released: {reason}.")
        lines.append(f"Released: **{released['run']}**, {figure(released['value'])}.")
        lines.append(f"What that costs of the stressed validation AUC: {figure(value, low, high, digits=4)}.")
    return "\n".join(f"- {line}" for line in lines)


def _answer(folder: Path) -> str:
    """Does it work? The champion on validation, on the official test, and on every other hospital's films measured."""
    if not paths.CHAMPION.exists():
        return "No champion yet."
    version = paths.CHAMPION.read_text(encoding="utf-8").strip()
    contract = paths.CHAMPIONS / version / "contract.json"
    figures = json.loads(contract.read_text(encoding="utf-8"))["figures"]
    names = ("auc", "sensitivity_at_sensitive", "specificity_at_sensitive")
    titles = {"validation": "validation patients", "stress": "the same, stressed", "test": "official test set"}
    lines = ["| measured on | ROC AUC | sensitivity | specificity | refused by the guard |", "|---|---|---|---|---|"]
    for part, title in titles.items():
        cells = [figure(*(figures[part][name][key] for key in ("value", "low", "high"))) for name in names]
        lines.append(f"| {title} | {' | '.join(cells)} | |")
    for path in sorted((folder / "site").glob("*.json")):
        site = json.loads(path.read_text(encoding="utf-8"))
        if site["version"] != version:
            continue
        refused = figure(*site["share_refused_by_guard"])
        parts = {"": site["accepted"], **{f", {view} alone": one for view, one in site["views"].items()}}
        for title, part in parts.items():
            cells = [figure(*part[name]) for name in names]
            lines.append(
                f"| another hospital: {site['name']}{title} | {' | '.join(cells)} | {'' if title else refused} |"
            )
    lines += ["", f"Champion: `{version}`, as it is served, at its sensitive operating point."]
    return "\n".join(lines)


if __name__ == "__main__":
    run_command("documents", main)
