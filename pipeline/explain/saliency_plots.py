"""Figures of what a network looks at: feature maps, maps over radiographs, and the checks of those maps."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from pipeline.evaluation.run_metrics import UNDEFINED
from pipeline.explain import saliency_metrics
from pipeline.figures.canvas import COLOURS, FAINT, panels

GREY = 90  # under the colour bar
WEAK, STRONG = np.array([255.0, 190.0, 60.0]), np.array([215.0, 25.0, 28.0])
LOCALISES = "The map shows what spoke for pneumonia on a coarse grid; by itself it localises nothing."


@dataclass(frozen=True)
class SaliencyExample:
    """One radiograph and what was said of it: `image` uint8 [side, side], `evidence` float [h, w], a title."""

    image: np.ndarray
    evidence: np.ndarray
    title: str


def overlay(image: np.ndarray, evidence: np.ndarray, largest: float) -> np.ndarray:
    """A radiograph, uint8 [side, side], under its map, float [h, w], orange to red up to `largest`: uint8 [side, side, 3]."""
    strength = np.clip(evidence / max(largest, 1e-9), 0, 1)
    return _tint(image, saliency_metrics.enlarge(strength[None], len(image))[0])


def _tint(grey: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Grey values, uint8 [...], under the colours of evidence, 0 to 1 [...]: uint8 [..., 3]."""
    strong = strength[..., None]
    opacity = 0.65 * strong
    return np.rint(grey[..., None] * (1 - opacity) + (WEAK + (STRONG - WEAK) * strong) * opacity).astype(np.uint8)


def _colour_bar(figure: Figure, grid: Sequence[Sequence[Axes]], largest: float) -> None:
    """The scale of the maps, as it looks over a grey image."""
    colours = _tint(np.full(256, GREY, np.uint8), np.linspace(0, 1, 256)) / 255.0
    scale = ScalarMappable(Normalize(0, largest), ListedColormap(colours))
    figure.colorbar(
        scale, ax=[axes for line in grid for axes in line], shrink=0.5, label="evidence for pneumonia, logits"
    )


def grid_note(maps: np.ndarray) -> str:
    """What every figure about maps [n, h, w] says of them."""
    return f"{LOCALISES} Its own grid: {' x '.join(map(str, maps.shape[1:]))}."


def scale_note(maps: np.ndarray, largest: float) -> str:
    """What every figure with maps says of their grid and their colours."""
    colours = f"One colour scale, 0 to {largest:.3g} logits (the 95th percentile of the validation maps' maxima)."
    return f"{grid_note(maps)} {colours}"


def feature_maps(image: np.ndarray, networks: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """The study's Table 4: a row a network with the first map, float [h, w], of each layer."""
    columns = 1 + max(len(maps) for maps in networks.values())
    figure, grid = panels(len(networks), columns, width=1.35, height=1.7)
    for axes in (axes for line in grid for axes in line):
        axes.set_axis_off()
    for line, (network, maps) in zip(grid, networks.items(), strict=True):
        line[0].imshow(image, cmap="gray", vmin=0, vmax=255)
        line[0].set_title(network, fontsize=9)
        for axes, (layer, image) in zip(line[1:], maps.items(), strict=False):
            axes.imshow(image, cmap="viridis")
            axes.set_title(f"{layer}\n{image.shape[0]} x {image.shape[1]}", fontsize=8)
    return figure


def pairs(examples: Sequence[SaliencyExample], largest: float, title: str, maps: np.ndarray) -> Figure:
    """The study's figure 13: a row a radiograph, original beside overlay; then the study's own maps [examples, h, w]."""
    figure, grid = panels(len(examples), 3, width=3.0, height=3.1)
    for place, (line, example) in enumerate(zip(grid, examples, strict=True)):
        for axes in line:
            axes.set_axis_off()
        line[0].imshow(example.image, cmap="gray", vmin=0, vmax=255)
        line[0].set_title(example.title, fontsize=8)
        line[1].imshow(overlay(example.image, example.evidence, largest))
        line[1].set_title("evidence for pneumonia", fontsize=8)
        line[2].imshow(example.image, cmap="gray", vmin=0, vmax=255)
        extent = (-0.5, len(example.image) - 0.5, len(example.image) - 0.5, -0.5)
        line[2].imshow(maps[place], cmap="jet", alpha=0.5, extent=extent, interpolation="bilinear")
        line[2].set_title(title, fontsize=8)
    _colour_bar(figure, grid, largest)
    return figure


def sheet(groups: Mapping[str, Sequence[SaliencyExample]], largest: float) -> Figure:
    """A sheet of examples: for each group a line of overlays under a line of originals."""
    columns = max(1, *(len(examples) for examples in groups.values()))
    figure, grid = panels(2 * len(groups), columns, width=1.7, height=1.85)
    for axes in (axes for line in grid for axes in line):
        axes.set_axis_off()
    for place, (name, examples) in enumerate(groups.items()):
        grid[2 * place][0].text(
            -0.08,
            0.5,
            textwrap.fill(name, 22),
            rotation=90,
            va="center",
            ha="right",
            transform=grid[2 * place][0].transAxes,
        )
        for column, example in enumerate(examples):
            grid[2 * place][column].imshow(example.image, cmap="gray", vmin=0, vmax=255)
            grid[2 * place][column].set_title(example.title, fontsize=6.5)
            grid[2 * place + 1][column].imshow(overlay(example.image, example.evidence, largest))
    _colour_bar(figure, grid, largest)
    return figure


def cascade(rows: Sequence[Mapping[str, Any]], limit: float) -> Figure:
    """Rank correlation with the trained network's maps as weights are made random from the top down."""
    figure, grid = panels(1, 1, width=7.0, height=3.4)
    axes = grid[0][0]
    places = np.arange(len(rows))
    axes.axhspan(-limit, limit, color=FAINT, alpha=0.6)
    _bars(axes, places, rows, "correlation", COLOURS[0], "o-")
    labels = [f"{row['layer']}\n{float(row['random_share']):.1%}" for row in rows]
    axes.set_xticks(places, labels, rotation=35, ha="right", fontsize=7)
    axes.set(
        ylim=(-1, 1.05), ylabel="mean rank correlation", xlabel="random down to this layer, and share of all weights"
    )
    return figure


def borders(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """AUC of the whole image, without its frame, and of the frame alone, by the frame's width."""
    splits = list(dict.fromkeys(row["split"] for row in rows))
    figure, grid = panels(1, len(splits), width=3.8, height=3.4, sharey=True)
    for axes, split in zip(grid[0], splits, strict=True):
        axes.axhline(0.5, color=FAINT)
        of_split = [row for row in rows if row["split"] == split]
        unmasked = [row for row in of_split if row["shown"] == "whole picture"]
        _bars(axes, np.zeros(1), unmasked, "auc", COLOURS[0], "o", "whole image")
        for place, shown in enumerate(("without its frame", "frame alone")):
            shares = [row for row in of_split if row["shown"] == shown]
            x = np.array([100 * float(row["share"]) for row in shares])
            _bars(axes, x + 0.3 * place, shares, "auc", COLOURS[1 + place], "o-", shown)
        axes.set(title=split, xlabel="width of the frame, % of the side", ylim=(0, 1.03))
    grid[0][0].set_ylabel("ROC AUC")
    grid[0][0].legend(loc="lower left")
    return figure


def stress(rows: Sequence[Mapping[str, Any]], point: str) -> Figure:
    """AUC, specificity and flips per thousand under each change, validation and test side by side."""
    changes = list(dict.fromkeys(row["change"] for row in rows))
    titles = {
        "auc": "ROC AUC",
        f"{point}_specificity": "specificity",
        f"{point}_flips_per_thousand": "flips per thousand",
    }
    figure, grid = panels(1, 3, width=3.2, height=0.26 * len(changes) + 0.5, sharey=True)
    places = np.arange(len(changes))[::-1]
    for axes, (name, title) in zip(grid[0], titles.items(), strict=True):
        for shift, (split, colour) in zip(
            (0.15, -0.15), (("validation", COLOURS[5]), ("test", COLOURS[0])), strict=True
        ):
            by_change = {row["change"]: row for row in rows if row["split"] == split}
            for place, change in zip(places, changes, strict=True):
                value, low, high = _triple(by_change[change], name)
                axes.plot([low, high], [place + shift] * 2, color=colour, lw=1.2)
                axes.plot(value, place + shift, "o", color=colour, ms=4, label=split if place == 0 else None)
        axes.set_title(title)
        axes.grid(axis="x", color=FAINT, lw=0.5)
    grid[0][0].set_yticks(places, changes, fontsize=8)
    grid[0][2].legend(loc="lower right")
    return figure


def _bars(
    axes: Axes, x: np.ndarray, rows: Sequence[Mapping[str, Any]], name: str, colour: str, form: str, label: str = ""
) -> None:
    value, low, high = np.array([_triple(row, name) for row in rows]).reshape(-1, 3).T
    axes.errorbar(x, value, [value - low, high - value], fmt=form, color=colour, ms=4, lw=1.2, capsize=2, label=label)


def _triple(row: Mapping[str, Any], name: str) -> list[float]:
    """A metric with its ends; NaN where it is undefined."""
    values = [row[f"{name}{end}"] for end in ("", "_low", "_high")]
    return [np.nan if value == UNDEFINED else float(value) for value in values]
