"""The study's figures 6 (one image and its augmented copies) and 7 (class sizes before and after)."""

from pathlib import Path

import numpy as np

from pipeline.figures.style import new_figure, save


def draw_transforms(original: np.ndarray, copies: np.ndarray, target: Path) -> None:
    """Figure 6, from uint8 [side, side] and [n, side, side]. It shows one patient: an output outside git."""
    figure, axes = new_figure(1, len(copies) + 1, width=2.0 * (len(copies) + 1), height=2.3)
    for place, (axis, image) in enumerate(zip(axes.flat, [original, *copies], strict=True)):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set_title("original" if place == 0 else f"augmented {place}")
        axis.axis("off")
    save(figure, target)


def draw_class_sizes(before: np.ndarray, groups: dict[str, np.ndarray], target: Path) -> None:
    """Figure 7: training images of each class, int [2], before grouping and in each group."""
    columns = {"training rows": before, **groups}
    figure, axis = new_figure(1, 1, width=7.0, height=3.4)
    positions = np.arange(len(columns))
    for place, (label, colour) in enumerate((("normal", "tab:blue"), ("pneumonia", "tab:orange"))):
        heights = [int(counts[place]) for counts in columns.values()]
        bars = axis.bar(positions + (place - 0.5) * 0.4, heights, 0.4, label=label, color=colour)
        axis.bar_label(bars, fontsize=8)
    axis.set_xticks(positions, list(columns))
    axis.set_ylabel("images an epoch")
    axis.margins(y=0.15)
    axis.legend(frameon=False, ncols=2)
    save(figure, target)
