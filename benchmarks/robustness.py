"""How hard each change is: AUC and log loss of every run by change, on validation patients alone.

    python -m benchmarks.robustness

Reads what the stage `stress` wrote; the non-image baseline and runs that the second family did not measure are left out.
Writes benchmarks/robustness.csv, one row a run and change, where `all` pools the images of a family, and prints how far the
runs lie apart. The strengths of the second family were chosen by such metrics of custom_cnn's networks and the champion's
graph, before any network that it judges was trained.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from sklearn.metrics import roc_auc_score

from pipeline import paths
from pipeline.data.tables import write_table
from pipeline.evaluation import predictions
from pipeline.robustness.families import TRAINED, UNSEEN, Family

TABLE = paths.ROOT / "benchmarks" / "robustness.csv"
COLUMNS = ["run", "family", "version", "change", "kind", "auc", "log_loss"]
Row = dict[str, str]


def main() -> None:
    """Write the table of the runs, and print the spread of each change."""
    runs = [predictions.read(path.parent) for path in sorted(paths.PREDICTIONS.glob("*/unseen.csv"))]
    rows = [row for run in runs if run.unseen and run.facts["epochs"] for row in _rows(run)]  # the baseline has none
    write_table(TABLE, COLUMNS, rows)
    _print_spread(rows)


def _rows(run: predictions.Predictions) -> Iterator[Row]:
    labels = run.validation.labels
    clean = {"family": "none", "version": "", "change": "none", "kind": ""} | _scores(labels, [run.validation.logits])
    for row in (clean, *_family(TRAINED, labels, run.stress), *_family(UNSEEN, labels, run.unseen)):
        yield {"run": run.name} | row


def _family(family: Family, labels: np.ndarray, logits: Mapping[str, np.ndarray]) -> list[Row]:
    head = {"family": family.name, "version": str(family.version)}
    rows = [
        head | {"change": name, "kind": change.kind} | _scores(labels, [logits[name]])
        for name, change in family.changes.items()
    ]
    return [*rows, head | {"change": "all", "kind": ""} | _scores(labels, list(logits.values()))]


def _scores(labels: np.ndarray, logits: Sequence[np.ndarray]) -> Row:
    """AUC, and log loss in nats of the probabilities as the network gives them, over all the logits together."""
    many, scores = np.tile(labels, len(logits)), np.concatenate(logits)
    loss = np.logaddexp(0, np.where(many, -scores, scores)).mean()
    return {"auc": f"{roc_auc_score(many, scores):.4f}", "log_loss": f"{loss:.4f}"}


def _print_spread(rows: Sequence[Row]) -> None:
    """Over the runs, change by change: lowest, median and highest AUC, median log loss."""
    print(f"{'family':8} {'change':18} {'kind':13} {'lowest':>7} {'median':>7} {'highest':>7} {'log loss':>9}")
    for family, change, kind in dict.fromkeys((row["family"], row["change"], row["kind"]) for row in rows):
        chosen = [row for row in rows if (row["family"], row["change"]) == (family, change)]
        area, loss = (np.array([float(row[name]) for row in chosen]) for name in ("auc", "log_loss"))
        ends = f"{area.min():7.3f} {np.median(area):7.3f} {area.max():7.3f} {np.median(loss):9.3f}"
        print(f"{family:8} {change:18} {kind:13} {ends}")


if __name__ == "__main__":
    main()
