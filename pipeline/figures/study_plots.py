"""The study's figures 9 to 12, the training curves, calibration, and all runs at a glance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation import calibration, published
from pipeline.evaluation.curves import roc_points
from pipeline.evaluation.predictions import Predictions
from pipeline.evaluation.run_metrics import UNDEFINED, Samples
from pipeline.figures.canvas import COLOURS, FAINT, INK, panels
from pipeline.labels import EVALUATED
from pipeline.settings import Run

TITLES = {"validation": "validation", "test": "official test"}
Metrics = Mapping[str, Mapping[str, Any]]


def roc_overlay(
    runs: Mapping[str, Predictions], plan: Mapping[str, Run], metrics: Metrics, by: str, groups: Sequence[str]
) -> Figure:
    """ROC curves on the official test set: one panel with a line for each group, or one panel a group.

    `by` is "group" (one network: figure 10) or "network" (several: figure 12). A ring is the study's published point.
    """
    names = list(runs)
    keys = _groups(plan, groups) if by == "group" else _networks(plan)
    titles = [""] if by == "group" else _groups({name: plan[name] for name in names}, groups)
    columns = min(2, len(titles))
    figure, grid = panels(-(-len(titles) // columns), columns, width=4.4, height=4.2)
    cells = [axes for line in grid for axes in line]
    for axes in cells[len(titles) :]:
        axes.set_axis_off()
    for axes, title in zip(cells, titles, strict=False):
        shown = [name for name in names if by == "group" or plan[name].group == title]
        # The curves crowd into one corner: an inset enlarges it.
        corner = axes.inset_axes((0.44, 0.4, 0.54, 0.46), xlim=(0, 0.4), ylim=(0.6, 1.005))
        for name in shown:
            run = plan[name]
            key = getattr(run, by)
            turn, place = divmod(keys.index(key), len(COLOURS))
            colour, line = COLOURS[place], "--" if turn else "-"
            label = f"{key}  {_interval(metrics[name], 'test_auc')}"
            printed = published.ROWS.get((run.network, run.group))
            for part in (axes, corner):
                part.plot(*roc_points(runs[name].test), line, color=colour, lw=1.3, label=label)
                if printed and runs[name].facts["dataset"] == published.DATASET:
                    tn, fp, fn, tp = printed.counts
                    part.plot(fp / (fp + tn), tp / (tp + fn), "o", mfc="none", mec=colour, ms=7)
        corner.tick_params(labelsize=7)
        axes.plot([0, 1], [0, 1], color=FAINT, lw=1, zorder=0)
        axes.set(xlim=(-0.02, 1), ylim=(0, 1.02), title=title, xlabel="1 - specificity", ylabel="sensitivity")
        axes.set_aspect("equal")
        axes.legend(loc="lower right", title="AUC (95 % interval)")
    return figure


def confusions(
    runs: Mapping[str, Predictions], plan: Mapping[str, Run], metrics: Metrics, groups: Sequence[str]
) -> Figure:
    """Confusion matrices on the official test set at the plain threshold: counts, and shares of each true class."""
    figure, cells = _by_network_and_group(runs, plan, groups, width=2.5, height=2.4)
    for axes, name in cells:
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xticks([0, 1], ["normal", "pneumonia"])
        axes.set_yticks([0, 1], ["normal", "pneumonia"], rotation=90, va="center")
        axes.set(xlabel="called", ylabel="is")
        if name is None:
            continue
        measured = metrics[name]
        counts = np.array([[measured["test_tn"], measured["test_fp"]], [measured["test_fn"], measured["test_tp"]]])
        shares = counts / counts.sum(axis=1, keepdims=True)
        heatmap(axes, shares, "Blues")
        for row, column in np.ndindex(2, 2):
            share = shares[row, column]
            colour = "white" if share > 0.6 else INK
            axes.text(column, row, f"{counts[row, column]}\n{share:.1%}", ha="center", va="center", color=colour)
    return figure


def training_curves(
    runs: Mapping[str, Predictions], plan: Mapping[str, Run], what: str, groups: Sequence[str]
) -> Figure:
    """Training and validation `accuracy` or `loss` by epoch: a row a network, a column a group."""
    figure, cells = _by_network_and_group(runs, plan, groups, width=2.4, height=1.7, sharex=True, sharey="row")
    drawn = None
    for axes, name in cells:
        if what == "loss":
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        if name is not None:
            history = runs[name].history
            axes.plot(history["epoch"], history[what], color=COLOURS[0], lw=1.2, label="training")
            axes.plot(history["epoch"], history[f"val_{what}"], color=COLOURS[1], lw=1.2, label="validation")
            drawn = axes
        axes.set_xlabel("epoch")
        axes.label_outer()
    if drawn:
        figure.legend(*drawn.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def reliability(run: Predictions, samples: Samples, row: Mapping[str, Any]) -> Figure:
    """Observed share of pneumonia against the predicted probability, on validation and test, before and after.

    `row` are the metrics of the run: intercept and slope after recalibration stand above each panel.
    """
    recalibration = calibration.fit(run.validation.labels, run.validation.logits)
    figure, grid = panels(1, 2, width=4.2, height=5.0)
    for axes, name in zip(grid[0], EVALUATED, strict=True):
        split, sample = getattr(run, name), getattr(samples, name)
        stages = [("as trained", split.logits, COLOURS[1], -0.004)]
        if recalibration:
            stages.append(("recalibrated on validation", recalibration(split.logits), COLOURS[0], 0.004))
        for label, logits, colour, shift in stages:
            points = calibration.reliability(split.labels, logits, sample)
            x = np.array([point["predicted"] for point in points]) + shift
            y, low, high = (
                np.array([point[key] for point in points]) for key in ("observed", "observed_low", "observed_high")
            )
            axes.errorbar(x, y, [y - low, high - y], fmt="o-", color=colour, ms=4, lw=1, capsize=2, label=label)
        axes.plot([0, 1], [0, 1], color=FAINT, lw=1, zorder=0)
        told = (
            f"{what} {_interval(row, f'{name}_calibration_{what}_recalibrated', 2)}" for what in ("intercept", "slope")
        )
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), title="\n".join((f"{TITLES[name]}; recalibrated:", *told)))
        axes.set(xlabel="predicted probability of pneumonia", ylabel="observed share of pneumonia")
        axes.set_aspect("equal")
    grid[0][0].legend(loc="upper left")
    return figure


def forest(metrics: Metrics, order: Sequence[str], dataset: str) -> Figure:
    """Every run's accuracy at both thresholds and AUC, with intervals.

    Hollow is validation, a cross the study's published accuracy.
    """
    columns = (
        ("accuracy_at_sensitive", "accuracy at own threshold"),
        ("accuracy", "accuracy at 0.5"),
        ("auc", "ROC AUC"),
        ("stress_auc", "AUC, stressed validation"),
    )
    figure, grid = panels(1, len(columns), width=3.6, height=max(2.5, 0.24 * len(order)), sharey=True)
    places = np.arange(len(order))[::-1]
    for axes, (metric, title) in zip(grid[0], columns, strict=True):
        for place, name in zip(places, order, strict=True):
            row = metrics[name]
            if metric == "stress_auc":
                _point(axes, row, "stress_auc", place, COLOURS[2], filled=True)
                continue
            _point(axes, row, f"validation_{metric}", place + 0.18, COLOURS[5], filled=False)
            _point(axes, row, f"test_{metric}", place - 0.12, COLOURS[0], filled=True)
            printed = published.ROWS.get((row["network"], row["group"]))
            if (
                printed
                and metric == "accuracy"
                and dataset == published.DATASET
                and name == f"{row['network']}-{row['group']}-0"
            ):
                axes.plot(printed.accuracy, place - 0.12, "x", color=COLOURS[1], ms=5)
        axes.set_title(title)
        axes.grid(axis="x", color=FAINT, lw=0.5)
        axes.set_axisbelow(True)
    names = [f"{name} ({_state(metrics[name])})" for name in order]
    grid[0][0].set_yticks(places, names, fontsize=8)
    grid[0][0].set_ylim(-0.8, len(order) - 0.2)
    return figure


def stress(metrics: Metrics, order: Sequence[str], changes: Sequence[str]) -> Figure:
    """Specificity of every run at 0.5 under each change of the validation images, clean and test beside them."""
    columns = ["validation_specificity", *(f"stress_{change}_specificity" for change in changes), "test_specificity"]
    values = np.array([[_value(metrics[name][column]) for column in columns] for name in order])
    figure, grid = panels(1, 1, width=1.8 + 0.62 * len(columns), height=max(2.5, 0.27 * len(order)))
    axes = grid[0][0]
    heatmap(axes, values, "cividis")
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        text = UNDEFINED if np.isnan(value) else f"{value:.2f}".replace("0.", ".", 1)
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if value < 0.55 else INK)
    axes.set_xticks(range(len(columns)), ["clean", *changes, "official test"], rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(order)), list(order), fontsize=8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def heatmap(axes: Axes, shares: np.ndarray, colours: str) -> None:
    """Cells of shares 0 to 1, the first row on top, as drawn rectangles: a figure in git holds no pixels."""
    rows, columns = (np.arange(count + 1) - 0.5 for count in shares.shape)
    axes.pcolormesh(columns, rows, np.ma.masked_invalid(shares), cmap=colours, vmin=0, vmax=1)
    axes.invert_yaxis()


def _point(axes: Axes, row: Mapping[str, Any], metric: str, place: float, colour: str, filled: bool) -> None:
    value, low, high = (_value(row[f"{metric}{end}"]) for end in ("", "_low", "_high"))
    axes.plot([low, high], [place, place], color=colour, lw=1.2)
    axes.plot(value, place, "o", ms=4, color=colour, mfc=colour if filled else "white")


def _state(row: Mapping[str, Any]) -> str:
    """How long a run was trained, and whether it trained at all; the baseline has no epochs."""
    trained = f"{row['epochs']} epochs" if row["epochs"] else "no network"
    return f"{trained}, did not train" if row["did_not_train"] else trained


def _interval(row: Mapping[str, Any], metric: str, digits: int = 3) -> str:
    value, low, high = (row[f"{metric}{end}"] for end in ("", "_low", "_high"))
    if UNDEFINED in (value, low, high):
        return f"{value}"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _value(value: Any) -> float:
    return np.nan if value == UNDEFINED else float(value)


def _networks(plan: Mapping[str, Run]) -> list[str]:
    """The networks of the plan in its order, which is that of params.yaml."""
    return list(dict.fromkeys(run.network for run in plan.values()))


def _groups(plan: Mapping[str, Run], order: Sequence[str]) -> list[str]:
    """The groups of the plan in the order of `groups.sets`."""
    groups = {run.group for run in plan.values()}
    return [group for group in order if group in groups]


def _by_network_and_group(
    runs: Mapping[str, Predictions], plan: Mapping[str, Run], order: Sequence[str], **size: Any
) -> tuple[Figure, list[tuple[Axes, str | None]]]:
    """A row a network of the plan, a column a group; each panel with its run, or "not run" and None."""
    places = {(plan[name].network, plan[name].group): name for name in runs}
    networks, groups = _networks(plan), _groups(plan, order)
    figure, grid = panels(len(networks), len(groups), **size)
    cells = []
    for line, network in zip(grid, networks, strict=True):
        for axes, group in zip(line, groups, strict=True):
            name = places.get((network, group))
            epochs = f", {runs[name].facts['epochs']} epochs" if name else ""
            axes.set_title(f"{network}, {group}{epochs}", fontsize=9)
            if name is None:
                axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center", color=INK)
            cells.append((axes, name))
    return figure, cells
