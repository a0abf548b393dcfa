"""Panels in the study's colours, saved with title and note, and generated images always named as such."""

import textwrap
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.published import GENERATED
from pipeline.figures import style

INK, FAINT, ALARM = "#222222", "#d9d9d9", "#b00020"
# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]


def panels(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, list[list[Axes]]]:
    """A figure of `rows` x `columns` axes, each `width` x `height` inches."""
    figure, grid = style.new_figure(rows, columns, width * columns, height * rows + 0.8, squeeze=False, **options)
    return figure, grid.tolist()


def save(figure: Figure, path: Path, title: str, dataset: str, note: str) -> None:
    """Put title, note and, where they are generated, the images' kind on the figure; write it."""
    colour = INK
    if dataset == GENERATED:
        title, note = f"GENERATED RADIOGRAPHS: {title}", f"These figures say nothing about children. {note}"
        colour = ALARM
    letters = int(figure.get_figwidth() * 15)
    figure.suptitle(textwrap.fill(title, int(letters * 0.7)), color=colour)
    figure.supxlabel(textwrap.fill(note, letters), fontsize=8, color=colour)
    style.save(figure, path)
