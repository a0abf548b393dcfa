"""The study's figure 8: a network as a column of blocks, with shapes and numbers of weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.figures.canvas import COLOURS, FAINT, INK, panels

ROW = 0.24  # inches


def draw(blocks: Sequence[Mapping[str, Any]]) -> Figure:
    """Rows of `learning.architecture.describe`, pixels at the top. Bars: side of the map, and root of the share of weights."""
    figure, grid = panels(1, 1, width=8.4, height=max(2.0, ROW * (len(blocks) + 1)))
    axes = grid[0][0]
    total = max(sum(block["parameters"] for block in blocks), 1)
    widest = max(block["shape"][0] for block in blocks if len(block["shape"]) == 3)
    for row, block in enumerate(blocks):
        y = -row
        spatial = len(block["shape"]) == 3
        side = block["shape"][0] / widest if spatial else 1 / widest
        axes.add_patch(
            Rectangle((1.5 - 1.4 * side / 2, y - 0.36), 1.4 * side, 0.72, color=COLOURS[0 if spatial else 1])
        )
        axes.text(2.35, y, block["name"], va="center", color=INK)
        axes.text(4.3, y, block["kind"] or _layers(block["layers"]), va="center", color=INK)
        axes.text(6.35, y, " x ".join(map(str, block["shape"])), va="center", color=INK)
        axes.text(
            8.3, y, f"{block['parameters']:,}" if block["parameters"] else "-", va="center", ha="right", color=INK
        )
        axes.add_patch(Rectangle((8.45, y - 0.36), 1.5, 0.72, color=FAINT, alpha=0.35))
        axes.add_patch(Rectangle((8.45, y - 0.36), 1.5 * np.sqrt(block["parameters"] / total), 0.72, color=COLOURS[2]))
    heads = ((1.5, "map", "center"), (2.35, "name", "left"), (4.3, "layers", "left"), (6.35, "output", "left"))
    for x, text, align in (*heads, (8.3, "weights", "right"), (8.45, "share (root)", "left")):
        axes.text(x, 0.9, text, ha=align, va="center", fontsize=8, weight="bold", color=INK)
    axes.set(xlim=(0.7, 10), ylim=(0.6 - len(blocks), 1.3))
    axes.set_axis_off()
    return figure


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
