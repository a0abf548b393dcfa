"""The committed metrics as Markdown, put between markers of README.md and of pages in docs/.

    python -m pipeline.reporting.markdown_blocks

A marker pair looks like `<!-- table2 -->` ... `<!-- /table2 -->`; what stands between is replaced. Every metric in a
document comes from metrics/, so a document cannot say what was not measured.
"""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline import paths, settings
from pipeline.command import run as run_command
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import published
from pipeline.evaluation.formatting import Row, estimate, idle, label, markdown, of, signed, significance
from pipeline.files import read_json, write_text
from pipeline.reporting import champion_table, external_table, findings, overview, run_tables, site_table, speed
from pipeline.settings import BASELINE

log = logging.getLogger("documents")

WITHOUT_CAPTION = ("answer-short", "findings-short", "unfinished", "caveats")  # they stand below one that has it
DOCUMENTS = ("README.md", "docs/results.md", "docs/speed.md")
MARKER = re.compile(r"(<!-- (?P<name>[a-z0-9-]+) -->\n).*?(<!-- /(?P=name) -->)", re.DOTALL)


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
    candidate = read_json(folder / "candidate.json")
    names = [name for name in [*options.table, BASELINE] if (folder / "runs" / f"{name}.json").exists()]
    epochs = options.train.common.epochs
    runs = [_run(folder / "runs" / f"{name}.json", epochs) for name in names]
    champion = champion_table.champion_contract()
    caption = _caption(runs[0])
    made = {
        "accuracy": overview.accuracy([*table2, *table3], epochs),
        "unfinished": overview.unfinished(runs, epochs, paths.ROOT / "benchmarks" / "training.json"),
        "areas": overview.areas([*table2, *table3], epochs),
        "table2": f"{_results(table2)}\n\n{WILSON}",
        "table3": f"{_results(table3)}\n\n{WILSON}",
        "table2-classes": _classes(table2),
        "table3-classes": _classes(table3),
        "learning": run_tables.learning(runs),
        "splits": run_tables.splits(runs),
        "operating": run_tables.operating(runs, options.evaluate.prevalence),
        "fixed": run_tables.fixed(runs),
        "calibration": run_tables.calibration(runs),
        "subtypes": run_tables.subtypes(runs),
        "stress": run_tables.stress(runs, "stress"),
        "unseen": run_tables.stress(runs, "unseen"),
        "stress-decisions": run_tables.stress_decisions(runs, "sensitive"),
        "seeds": run_tables.seeds(runs, options.table),
        "contrasts": _contrasts([row for row in contrasts if row["kind"] != "winner" and row["finished"]]),
        "contrasts-unfinished": _contrasts(
            [row for row in contrasts if row["kind"] != "winner" and not row["finished"]]
        ),
        "findings": findings.table(contrasts),
        "findings-short": findings.short(contrasts),
        "candidate": _candidate(candidate),
        "answer": champion_table.table(folder, candidate),
        "answer-short": champion_table.short(folder),
        "external": external_table.table(folder, champion["version"] if champion else None),
        "elsewhere": site_table.table(folder, folder.parent / "predictions", runs, options.evaluate, epochs),
        "caveats": run_tables.caveats(runs, _baseline(folder.parent / "predictions" / BASELINE / "run.json")),
    }
    generated = runs[0]["dataset"] == published.GENERATED
    captioned = {
        name: f"{caption}\n\n{text}" if generated or name not in WITHOUT_CAPTION else text
        for name, text in made.items()
    }
    captioned["quick"] = speed.quick(paths.ROOT / "benchmarks" / "measured.json")
    return captioned | {"speed": speed.table(paths.ROOT / "benchmarks" / "measured.json")}


def _run(path: Path, epochs: int) -> Row:
    """The metrics of a run, and whether it is unfinished."""
    run = read_json(path)
    return run | {"unfinished": run["run"] != BASELINE and int(run["epochs"]) < epochs}


def _caption(run: Row) -> str:
    patients = f"{run['test_pictures']} test images of {run['test_patients']} patients"
    validation = f"{run['validation_pictures']} validation images of {run['validation_patients']} patients"
    bars = f"{patients}, {validation}; in brackets 95 % intervals by patient."
    if run["dataset"] == published.GENERATED:
        return f"**Generated radiographs ({run['dataset']}): these metrics say nothing about children.** {bars}"
    return f"{run['dataset']}, {run['edition']} edition: {bars}"


def _who(row: Row) -> list[str]:
    """What every row says of itself: run, starting weights, backend, precision, epochs, seed and how many seeds there are."""
    if row["run"] == BASELINE:
        return [label(row), row["backend"], "-", "-"]
    if row["status"] == "not run":
        return [row["run"], row["weights"], "-", f"{row['seed']}"]
    seeds = "one seed" if row["seeds"] == "1" else f"{row['seeds']} seeds"
    return [
        f"{row['run']}{idle(row)}",
        f"{row['weights']}, {row['backend']}, {row['precision']}",
        f"{row['epochs']}{', unfinished' if row['unfinished'] else ''}",
        f"{row['seed']} ({seeds})",
    ]


WILSON = "Published metrics have Wilson's intervals from their counts: their patients are unknown."
CLASSES = ("normal", "pneumonia")
MACROS = ("recall", "precision", "f1")
WHO = ["run", "start, backend, precision", "epochs", "seed"]


def _results(table: Sequence[Row]) -> str:
    header = [
        *WHO,
        "accuracy at the validation threshold",
        "accuracy at 0.5",
        "published",
        "ROC AUC",
        "balanced accuracy",
        'published "AUC"',
    ]
    header += ["sensitivity", "published", "specificity", "published"]
    body = []
    for row in table:
        line = _who(row)
        if row["status"] == "not run":
            body.append([*line, "not run", *["-"] * (len(header) - len(line) - 1)])
            continue
        line += [of(row, "accuracy_at_sensitive"), of(row, "accuracy"), of(row, "published_accuracy"), of(row, "auc")]
        line += [of(row, "balanced_accuracy"), of(row, "published_auc_of_rounded")]
        for name in ("recall_pneumonia", "recall_normal"):
            line += [of(row, name), of(row, f"published_{name}", 2)]
        body.append(line)
    return markdown(header, body)


def _classes(table: Sequence[Row]) -> str:
    header = ["run", "precision normal / pneumonia", "published", "F1 normal / pneumonia", "published"]
    header += ["macro recall", "macro precision", "macro F1", "published macros"]
    header += ["loss", "published", "TN FP / FN TP", "published"]
    body = []
    for row in table:
        if row["status"] == "not run":
            body.append([row["run"], "not run", *["-"] * (len(header) - 2)])
            continue
        line = [label(row)]
        for name in ("precision", "f1"):
            line += [
                " / ".join(of(row, f"{name}_{name_of_class}") for name_of_class in CLASSES),
                _published_pair(row, name),
            ]
        line += [of(row, f"{name}_macro") for name in MACROS]
        macros = [_published_macro(row, name) for name in MACROS]
        line.append("-" if "-" in macros else ", ".join(macros))
        line += [of(row, "log_loss"), estimate(row["published_loss"]), _counts(row, ""), _counts(row, "published_")]
        body.append(line)
    return markdown(header, body)


def _published_pair(row: Row, name: str) -> str:
    """As printed, without the interval: both together fill the page."""
    both = [estimate(row[f"published_{name}_{class_name}"], digits=2) for class_name in CLASSES]
    return "-" if "-" in both else " / ".join(both)


def _published_macro(row: Row, name: str) -> str:
    """The mean of both classes, as the study's headline has it."""
    both = [row[f"published_{name}_{class_name}"] for class_name in CLASSES]
    return "-" if "" in both else estimate(sum(map(float, both)) / 2)


def _counts(row: Row, prefix: str) -> str:
    tn, fp, fn, tp = (row[f"{prefix}{name}"] for name in ("tn", "fp", "fn", "tp"))
    return f"{tn} {fp} / {fn} {tp}" if tn else "-"


def _contrasts(rows: Sequence[Row]) -> str:
    header = ["contrast", "metric", "difference", "p", "significance", "averaged over", "left out"]
    body = [
        [
            row["contrast"],
            METRICS.get(row["figure"], row["figure"]),
            signed(row["difference"], row["low"], row["high"]),
            estimate(row["p"]),
            significance(row["p_holm"]) if row["p_holm"] else "-",
            row["over"],
            "; ".join(filter(None, [row["left_out"], f"missing: {row['missing']}" if row["missing"] else ""])) or "-",
        ]
        for row in rows
    ]
    return markdown(header, body) if body else "None: there is no such pair."


METRICS = {
    "test_auc": "test AUC",
    "test_accuracy_at_sensitive": "test accuracy at the validation threshold",
    "test_accuracy": "test accuracy at 0.5",
    "validation_auc": "validation AUC",
    "stress_auc": "AUC, stressed validation",
    "unseen_auc": "AUC, validation under unseen changes",
}


def _candidate(named: Row) -> str:
    lines = [
        f"Rule: {named['rule']}.",
        f"Best AUC on validation under unseen changes: {named['best']}, {estimate(named['best_value'])} "
        f"(standard error {estimate(named['standard_error'], digits=4)}), "
        f"log loss {estimate(named['best_log_loss'])} ({estimate(named['log_loss_standard_error'], digits=4)}).",
        f"Candidate: **{named['run']}**, AUC {estimate(named['value'])}, log loss {estimate(named['log_loss'])}.",
    ]
    if named["left_out"]:
        reasons = Counter(run["because"] for run in named["left_out"])
        said = ", ".join(f"{count} ({reason})" for reason, count in sorted(reasons.items()))
        lines.append(f"Runs that could not be the candidate: {said}.")
    released = named["released"]
    if released is None:
        lines.append("None of the runs may be released.")
    elif released["run"] == named["run"]:
        lines.append("It may be released.")
    else:
        reason = next(run["not_released_because"] for run in named["considered"] if run["run"] == named["run"])
        value, low, high = released["cost_unseen_auc"]
        lines.append(f"It may not be released: {reason}.")
        lines.append(f"Released: **{released['run']}**, {estimate(released['value'])}.")
        lines.append(f"What that costs of the AUC under unseen changes: {estimate(value, low, high, digits=4)}.")
    return "\n".join(f"- {line}" for line in lines)


def _baseline(path: Path) -> Row | None:
    """What the non-image baseline read, and what was the same in every image."""
    return read_json(path, otherwise=None)


if __name__ == "__main__":
    run_command("documents", main)
