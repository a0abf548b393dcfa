"""One look for every figure, and files that are the same from run to run."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no screen is needed

from matplotlib import pyplot as plt  # noqa: E402

from pipeline.files import atomic_file  # noqa: E402

plt.rcParams.update(
    {
        "svg.hashsalt": "pipeline",  # the same ids every time
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "legend.frameon": False,
        "figure.dpi": 100,
        "savefig.dpi": 150,
    }
)


def new_figure(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Any, Any]:
    """A figure of `rows` x `columns` axes; sizes in inches; options as those of `plt.subplots`."""
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)


def save(figure: Any, target: Path) -> None:
    """Write the figure atomically, without a date, in the format of the file's ending, and forget it."""
    ending = target.suffix.lstrip(".")
    metadata = {"Date": None} if ending == "svg" else {"Software": None}
    with atomic_file(target) as temporary:
        figure.savefig(temporary, format=ending, metadata=metadata)
    plt.close(figure)
