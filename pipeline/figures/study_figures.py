"""Which figures the study has, and what is written on each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.evaluation import published, tables
from pipeline.evaluation.predictions import Predictions
from pipeline.evaluation.run_metrics import Samples
from pipeline.figures import canvas, study_plots
from pipeline.settings import BASELINE, Run


def draw(
    folder: Path,
    runs: Mapping[str, Predictions],
    plan: Mapping[str, Run],
    metrics: Mapping[str, Mapping[str, Any]],
    samples: Samples,
    chosen: str,
    groups: Sequence[str],
) -> None:
    """Draw the runs of params.yaml into `folder`, as SVG; `chosen` is the run whose calibration is shown.

    Networks stand in the order of `plan`, groups in that of `groups`.
    """
    first = next(iter(runs.values()))
    dataset = first.facts["dataset"]
    real = dataset == published.DATASET
    where = f"official test set, {len(first.test.paths)} images of {len(set(first.test.patients))} patients"
    bars = "Bars: 95 % bootstrap by patient within class."
    order = [*runs, *(name for name in (BASELINE,) if name in metrics)]
    # One run for each network and group: further seeds and controls stand in the overview of all runs.
    table = {name: run for name, run in plan.items() if tables.is_main(run)}
    main = {name: predicted for name, predicted in runs.items() if name in table}

    def save(name: str, figure: Any, title: str, note: str) -> None:
        canvas.save(figure, folder / f"{name}.svg", title, dataset, note)

    for kind, by in ((published.OWN, "group"), ("transfer", "network")):
        part = {name: run for name, run in table.items() if (run.network == published.OWN) == (by == "group")}
        selected = {name: predicted for name, predicted in main.items() if name in part}
        if not selected:
            continue
        others = {run.network for run in part.values()} - published.NETWORKS
        subject = published.OWN if by == "group" else "other networks" if others else "transfer networks"
        save(
            f"confusion-{kind}",
            study_plots.confusions(selected, part, metrics, groups),
            f"Confusion at 0.5, {subject}",
            _note(where),
        )
        rings = "Rings: the study's published counts." if real else ""
        drawn = study_plots.roc_overlay(selected, part, metrics, by, groups)
        save(f"roc-{kind}", drawn, f"ROC, {subject}", _note(where, rings))
    if main:
        note = "Training metrics are means over the epoch, with augmentation and dropout on."
        for what in ("accuracy", "loss"):
            drawn = study_plots.training_curves(main, table, what, groups)
            save(f"training-{what}", drawn, f"{what.capitalize()} by epoch", note)
    save(
        "reliability", study_plots.reliability(runs[chosen], samples, metrics[chosen]), f"Calibration of {chosen}", bars
    )
    crosses = "Crosses: the study's published accuracy." if real else ""
    note = _note(f"filled: {where}; hollow: validation", bars, crosses)
    save("forest", study_plots.forest(metrics, order, dataset), "All runs", note)
    note = "Each change is made to the same validation images."
    title = "Specificity at 0.5: validation clean and changed, and the official test"
    save("stress", study_plots.stress(metrics, order, list(first.stress)), title, note)


def _note(first: str, *more: str) -> str:
    return " ".join([f"{first[0].upper()}{first[1:]}.", *(part for part in more if part)])
