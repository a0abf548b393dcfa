"""The study at one glance: a row for each network, a column for each group, seed 0; the whole tables are in docs/results.md."""

from collections.abc import Callable, Sequence

from pipeline.evaluation.formatting import Row, collapsed, figure, label, markdown, of
from pipeline.settings import BASELINE


def accuracy(table: Sequence[Row]) -> str:
    """Accuracy at 0.5 on the official test, and the published one; rows of metrics/table2.csv and table3.csv."""

    def cell(row: Row) -> str:
        published = figure(row["published_accuracy"])
        told = of(row, "accuracy") if published == "-" else f"{of(row, 'accuracy')}, *{published}*"
        return f"{told}{_other_seeds(row, table)}{_constant(row)}"

    return _grid(table, "Accuracy at 0.5 on the official test, *published* beside it", cell)


def areas(table: Sequence[Row], runs: Sequence[Row]) -> str:
    """ROC AUC on validation, stressed validation and the official test; `runs` are those of metrics/runs/."""
    made = {run["run"]: run for run in runs}

    def cell(row: Row) -> str:
        return " / ".join(figure(made[row["run"]][f"{part}_auc"]) for part in ("validation", "stress", "test"))

    return _grid(table, "ROC AUC on validation / stressed validation / the official test", cell)


def _other_seeds(row: Row, table: Sequence[Row]) -> str:
    """The accuracies of the same network on the same group from other seeds."""
    seeds = [
        figure(one["accuracy"])
        for one in table
        if one["run"] == f"{row['network']}-{row['group']}-{one['seed']}" != row["run"] and one["status"] != "not run"
    ]
    return f"; other seeds {', '.join(seeds)}" if seeds else ""


def _constant(row: Row) -> str:
    """Said of a run that gives every picture the same verdict: its accuracy is the share of that class."""
    for verdict, others in (("pneumonia", ("tn", "fn")), ("normal", ("tp", "fp"))):
        if not any(int(row[name]) for name in others):
            return f", calls every picture {verdict}"
    return ""


def _grid(table: Sequence[Row], title: str, cell: Callable[[Row], str]) -> str:
    rows = {row["run"]: row for row in table if row["run"] == f"{row['network']}-{row['group']}-0"}
    starts = {row["network"]: row["weights"] for row in rows.values()}
    groups = list(dict.fromkeys(row["group"] for row in rows.values()))
    longest = max((int(row["epochs"]) for row in rows.values() if row["status"] != "not run"), default=0)
    body = [
        [f"{network} ({start})", *(_told(rows.get(f"{network}-{group}-0"), cell, longest) for group in groups)]
        for network, start in starts.items()
    ]
    baselines = [row for row in table if row["run"] == BASELINE][:1]  # each table of the study has it once
    body += [[label(row), cell(row), *[""] * (len(groups) - 1)] for row in baselines]
    return f"{title}; {longest} epochs where no other number stands.\n\n{markdown(['network (start)', *groups], body)}"


def _told(row: Row | None, cell: Callable[[Row], str], longest: int) -> str:
    """A cell, and in what its training was unlike the others."""
    if row is None or row["status"] == "not run":
        return "not run"
    notes = [f"{row['epochs']} epochs"] if int(row["epochs"]) != longest else []
    notes += ["collapsed"] if collapsed(row) else []
    return f"{cell(row)}{''.join(f', {note}' for note in notes)}"
