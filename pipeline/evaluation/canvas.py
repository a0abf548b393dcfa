"""How every figure looks and is saved: the same bytes each time, and generated pictures always named as such."""

import textwrap
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from pipeline.evaluation.published import DATASET
from pipeline.files import atomic_file

INK, FAINT, ALARM = "#222222", "#d9d9d9", "#b00020"
# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.edgecolor": INK,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: small files that can be searched
    "svg.hashsalt": "chest",  # ids are random without it
}


def style() -> AbstractContextManager[None]:
    """Everything is drawn and saved inside this."""
    return matplotlib.rc_context(STYLE)


def panels(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, list[list[Axes]]]:
    """A figure of `rows` x `columns` axes, each `width` x `height` inches."""
    figure = Figure(figsize=(width * columns, height * rows + 0.8), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options).tolist()


def save(figure: Figure, path: Path, title: str, dataset: str, note: str) -> None:
    """Put title, note and, where they are generated, the pictures' kind on the figure; write SVG without a date."""
    colour = INK
    if dataset != DATASET:
        title, note = f"GENERATED RADIOGRAPHS: {title}", f"These figures say nothing about children. {note}"
        colour = ALARM
    letters = int(figure.get_figwidth() * 15)
    figure.suptitle(textwrap.fill(title, int(letters * 0.7)), color=colour)
    figure.supxlabel(textwrap.fill(note, letters), fontsize=8, color=colour)
    with atomic_file(path) as temporary:
        FigureCanvasSVG(figure).print_svg(temporary, metadata={"Date": None, "Creator": None})
