"""The study's tables with our metrics beside the published ones, as rows for CSV."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.evaluation import published
from pipeline.evaluation.contrasts import Contrast
from pipeline.evaluation.run_metrics import number
from pipeline.settings import Run

WHO = [
    "run",
    "network",
    "group",
    "weights",
    "backend",
    "precision",
    "epochs",
    "seed",
    "seeds",
    "steps",
    "unfinished",
    "status",
    "dataset",
]
CLASS_METRICS = [f"{metric}_{label}" for metric in ("recall", "precision", "f1") for label in ("normal", "pneumonia")]
OURS = [
    "accuracy_at_sensitive",
    "accuracy",
    "log_loss",
    *CLASS_METRICS,
    "recall_macro",
    "precision_macro",
    "f1_macro",
    "balanced_accuracy",
    "auc",
]
COUNTS = ["tn", "fp", "fn", "tp"]
VALIDATION = ["validation_accuracy", "validation_auc", "stress_auc", "unseen_auc"]
LEARNING = ["epochs_to_95", "training_accuracy", "training_gap"]
WITH_WILSON = ["accuracy", "recall_normal", "recall_pneumonia", "precision_normal", "precision_pneumonia"]
PUBLISHED = ["accuracy", "loss", *CLASS_METRICS, "auc_of_rounded", *COUNTS]
STUDY = ("stress_auc", "test_auc")
CONTRASTS = [
    *("kind", "contrast", "finished", "figure", "difference", "low", "high", "p", "p_holm"),
    *("over", "left_out", "missing", "opposed"),
]
NOT_RUN = "not run"
DID_NOT_TRAIN = "did not train"
Row = dict[str, Any]


def is_main(run: Run) -> bool:
    """The run that stands for its network and group, beside the published one: seed 0, no control."""
    return run.seed == 0 and not is_control(run)


def is_control(run: Run) -> bool:
    """A run beside the table of networks, groups and seeds: its name says more than `network-group-seed`."""
    return run.name != f"{run.network}-{run.group}-{run.seed}"


def columns() -> list[str]:
    """Columns of metrics/table2.csv and metrics/table3.csv."""
    ours = [f"{name}{end}" for name in OURS for end in ("", "_low", "_high")]
    printed = [
        f"published_{name}{end}"
        for name in PUBLISHED
        for end in (("", "_low", "_high") if name in WITH_WILSON else ("",))
    ]
    return [*WHO, *ours, *COUNTS, "threshold_sensitive", *VALIDATION, *LEARNING, *printed]


def rows(
    runs: Iterable[Run], metrics: Mapping[str, Mapping[str, Any]], baseline: Mapping[str, Any] | None, epochs: int
) -> list[Row]:
    """One row a run, in the order of params.yaml, whether it ran or not; the non-image baseline last.

    A run of fewer than `epochs` is unfinished.
    """
    planned = list(runs)
    seeds = Counter((run.network, run.group) for run in planned if run.name in metrics and not is_control(run))
    table = []
    for run in planned:
        row: Row = {
            "run": run.name,
            "network": run.network,
            "group": run.group,
            "weights": run.weights,
            "seed": run.seed,
            "status": NOT_RUN,
        }
        if run.name in metrics:
            row["unfinished"] = "yes" if int(metrics[run.name]["epochs"]) < epochs else ""
            row |= _ours(metrics[run.name]) | {"seeds": 1 if is_control(run) else seeds[run.network, run.group]}
            # Published metrics are about children; they do not stand beside generated images.
            if row["dataset"] == published.DATASET and is_main(run):
                row |= _published(run.network, run.group)
        table.append(row)
    if baseline:
        table.append(_ours(baseline))
    return table


def study(candidate: str, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """metrics/study.json, what `dvc metrics` shows: two metrics of the candidate, and each run's validation AUC.

    A column each there, and every further run is one more: all else that was measured is in metrics/runs/.
    """
    return {
        "candidate": {"run": candidate, **{name: metrics[candidate][name] for name in STUDY}},
        "validation_auc": {run: row["validation_auc"] for run, row in metrics.items()},
    }


def _ours(metrics: Mapping[str, Any]) -> Row:
    row: Row = {key: metrics[key] for key in WHO if key in metrics}
    row["status"] = DID_NOT_TRAIN if metrics["did_not_train"] else "run"
    for name in OURS:
        row |= {f"{name}{end}": metrics[f"test_{name}{end}"] for end in ("", "_low", "_high")}
    row |= {name: metrics[f"test_{name}"] for name in COUNTS}
    return row | {name: metrics[name] for name in ("threshold_sensitive", *VALIDATION, *LEARNING)}


def _published(network: str, group: str) -> Row:
    printed = published.ROWS.get((network, group))
    if printed is None:
        return {}
    row: Row = {"accuracy": printed.accuracy, "loss": printed.loss, "auc_of_rounded": printed.auc}
    for metric in ("recall", "precision", "f1"):
        row[f"{metric}_normal"], row[f"{metric}_pneumonia"] = getattr(printed, metric)
    row |= dict(zip(COUNTS, printed.counts, strict=True))
    for name in WITH_WILSON:
        low, high = printed.interval(name)
        row |= {f"{name}_low": number(low), f"{name}_high": number(high)}
    return {f"published_{key}": value for key, value in row.items() if value is not None}


def contrast_rows(contrasts: Iterable[Contrast]) -> list[Row]:
    """Rows of metrics/contrasts.csv."""
    return [
        {
            "kind": contrast.kind,
            "contrast": contrast.name,
            "finished": "yes" if contrast.finished else "",
            "figure": contrast.metric,
            "difference": number(contrast.value),
            "low": number(contrast.low),
            "high": number(contrast.high),
            "p": number(contrast.p),
            "p_holm": "" if contrast.p_holm is None else number(contrast.p_holm),
            "over": contrast.over,
            "left_out": contrast.left_out,
            "missing": contrast.missing,
            "opposed": "yes" if contrast.opposed else "",
        }
        for contrast in contrasts
    ]
