"""The study's figures 1 to 5, and the classes' sizes and grey values: what a reader sees of the data before any network."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.data.summary import Counts
from pipeline.figures.canvas import COLOURS, panels
from pipeline.labels import ALL_SUBTYPES, CLASSES

STUDY_IMBALANCE = 2.894  # 3,933 / 1,359 images that it trained on; the 2.984 in its conclusion is a slip
NAMES = {label: label.lower() for label in CLASSES}
COLOUR = dict(zip(CLASSES, COLOURS, strict=False))


def class_distribution(images: Mapping[tuple[str, str], int], patients: Mapping[tuple[str, str], int]) -> Figure:
    """Figure 1: images and patients, by (split, subtype), for each official split."""
    splits = list(dict.fromkeys(split for split, _ in images))
    shown = [name for name in ALL_SUBTYPES if any(images.get((split, name)) for split in splits)]
    figure, grid = panels(1, 2, width=4.6, height=3.2)
    for axes, counts, title in zip(grid[0], (images, patients), ("images", "patients"), strict=True):
        for place, name in enumerate(shown):
            heights = [counts.get((split, name), 0) for split in splits]
            at = np.arange(len(splits)) + (place - (len(shown) - 1) / 2) * 0.27
            axes.bar_label(axes.bar(at, heights, 0.26, color=COLOURS[place], label=name), fontsize=8)
        axes.set_xticks(range(len(splits)), splits)
        axes.set(title=title, ylabel=title)
        axes.margins(y=0.12)
    grid[0][0].legend()
    return figure


def sample_sheet(images: Sequence[np.ndarray], names: Sequence[str]) -> Figure:
    """Figure 2: single images, uint8 [side, side] each, with their names. An output outside git."""
    columns = min(4, len(images))
    figure, grid = panels(-(-len(images) // columns), columns, width=2.1, height=2.3)
    for axes in (axes for line in grid for axes in line):
        axes.set_axis_off()
    for axes, image, name in zip((axes for line in grid for axes in line), images, names, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(name, fontsize=7)
    return figure


def class_images(images: Mapping[str, np.ndarray], unit: str, largest: float) -> Figure:
    """Figures 3 and 5: one image a class, float64 [side, side], on one grey scale from 0 to `largest`."""
    figure, grid = panels(1, len(images), width=3.4, height=3.2)
    for axes, (label, image) in zip(grid[0], images.items(), strict=True):
        drawn = axes.imshow(image, cmap="gray", vmin=0, vmax=largest)
        axes.set_title(NAMES[label])
        axes.set_axis_off()
    figure.colorbar(drawn, ax=grid[0], label=unit, shrink=0.8)
    return figure


def difference(normal: np.ndarray, pneumonia: np.ndarray) -> Figure:
    """Figure 4: mean normal minus mean pneumonia, float64 [side, side]; white is no difference."""
    change = normal - pneumonia
    largest = max(float(np.abs(change).max()), 1e-9)
    figure, grid = panels(1, 1, width=4.6, height=3.6)
    drawn = grid[0][0].imshow(change, cmap="RdBu_r", vmin=-largest, vmax=largest)
    grid[0][0].set_axis_off()
    figure.colorbar(drawn, ax=grid[0], label="grey values: red is brighter in normal, blue in pneumonia", shrink=0.8)
    return figure


def distributions(quantities: Mapping[str, Mapping[str, Counts]], logarithmic: Sequence[str]) -> Figure:
    """Share of each class's images by bin, for each quantity; empty ends of an axis are cut off."""
    drawn = None
    columns = 2 if len(quantities) == 4 else 3
    figure, grid = panels(-(-len(quantities) // columns), columns, width=3.3, height=2.5)
    cells = [axes for line in grid for axes in line]
    for axes, (quantity, classes) in zip(cells, quantities.items(), strict=True):
        axes.set(xlabel=quantity, ylabel="share of images")
        used = np.flatnonzero(sum(histogram.counts for histogram in classes.values()))
        first, last = (int(used[0]), int(used[-1])) if len(used) else (0, 0)
        edges = next(iter(classes.values())).edges[first : last + 2]
        if first == last:  # nothing to compare
            text = f"the same bin in every image:\n{edges[0]:.4g} to {edges[1]:.4g}"
            axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
            axes.set(xticks=[], yticks=[])
            continue
        for label, histogram in classes.items():
            axes.stairs(histogram.shares()[first : last + 1], edges, color=COLOUR[label], lw=1.4, label=NAMES[label])
        if quantity in logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.xaxis.set_minor_formatter("")
        axes.set_ylim(0, None)
        drawn = axes
    if drawn:
        drawn.legend()
    return figure
