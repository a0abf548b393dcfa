"""The study at one glance: a row for each network, a column for each group, seed 0; the whole tables are in docs/results.md."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.evaluation.formatting import Row, estimate, idle, label, markdown
from pipeline.files import read_json
from pipeline.settings import BASELINE


def accuracy(table: Sequence[Row], epochs: int) -> str:
    """Accuracy on the official test at both thresholds, AUC, and the published accuracy; rows of table2.csv and table3.csv."""

    def cell(row: Row) -> str:
        measured = " / ".join(estimate(row[name]) for name in ("accuracy_at_sensitive", "accuracy", "auc"))
        published = estimate(row["published_accuracy"])
        return measured if published == "-" else f"{measured} *({published})*"

    title = (
        "Official test: accuracy at each run's own threshold, fixed on validation / accuracy at 0.5 / ROC AUC; "
        "*in brackets the published accuracy, at 0.5*"
    )
    return _grid(table, title, cell, epochs)


def areas(table: Sequence[Row], epochs: int) -> str:
    """ROC AUC on validation, both families of changes, and the official test."""

    def cell(row: Row) -> str:
        unseen = "network not kept" if row["unseen_auc"] == "undefined" else estimate(row["unseen_auc"])
        validation, stressed, test = (estimate(row[name]) for name in ("validation_auc", "stress_auc", "auc"))
        return f"{validation} / {stressed} / {unseen} / {test}"

    title = (
        "ROC AUC on validation / stressed validation / unseen changes, which no recipe trains on / the official test"
    )
    return _grid(table, title, cell, epochs)


def unfinished(runs: Sequence[Row], epochs: int, rates: Path) -> str:
    """Which runs are unfinished, and how long they would take; `rates` is benchmarks/training.json."""
    open_runs = [run for run in runs if run.get("unfinished")]
    if not open_runs:
        return f"Every run has its {epochs} epochs."
    measured = read_json(rates, otherwise={})
    speeds: dict[str, float] = next((value for key, value in measured.items() if key.endswith("_per_second")), {})
    told, total = [], 0.0
    for run in open_runs:
        speed = speeds.get(run["network"])
        hours = float(run["training_pictures"]) * epochs / speed / 3600 if speed else None
        total += hours or 0.0
        told.append(f"{run['run']} ({run['epochs']} of {epochs} epochs{f', {hours:.1f} h' if hours else ''})")
    cores = measured.get("cores", "?")
    took = (
        f", about {total:.0f} hours in all on the {cores} CPU cores on which the rates were measured" if total else ""
    )
    intro = "Unfinished, so used by no conclusion; in brackets the epochs, and the hours to train it anew"
    return f"{intro}{took}: {', '.join(told)}."


def _grid(table: Sequence[Row], title: str, cell: Callable[[Row], str], epochs: int) -> str:
    rows = {row["run"]: row for row in table if row["run"] == f"{row['network']}-{row['group']}-0"}
    starts = {row["network"]: row["weights"] for row in rows.values()}
    groups = list(dict.fromkeys(row["group"] for row in rows.values()))
    body = [
        [f"{network} ({start})", *(_told(rows.get(f"{network}-{group}-0"), cell) for group in groups)]
        for network, start in starts.items()
    ]
    baselines = [row for row in table if row["run"] == BASELINE][:1]  # each table of the study has it once
    body += [[label(row), cell(row), *[""] * (len(groups) - 1)] for row in baselines]
    notes = f"Seed 0, {epochs} epochs; a run of fewer is named *unfinished*. *Did not train*: {IDLE}."
    return f"{title}.\n{notes}\n\n{markdown(['network (start)', *groups], body)}"


IDLE = "one class for at least 99 % of the validation images, or validation AUC below .6"


def _told(row: Row | None, cell: Callable[[Row], str]) -> str:
    """A cell, and in what its training was unlike the others."""
    if row is None or row["status"] == "not run":
        return "not run"
    notes = f", **{row['epochs']} epochs, unfinished**" if row["unfinished"] else ""
    return f"{cell(row)}{notes}{idle(row)}"
