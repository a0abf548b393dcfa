"""Choose the validation patients, and list the training rows of each data group."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline import paths, settings
from pipeline.command import run
from pipeline.data.groups import balance
from pipeline.data.splits import is_validation
from pipeline.data.tables import read_table, write_table
from pipeline.errors import ProjectError
from pipeline.figures.group_figures import draw_class_sizes, draw_transforms
from pipeline.labels import CLASSES
from pipeline.settings import Groups


def main() -> None:
    """Write a row list for `validation` and for each group, and the study's figures 6 and 7."""
    chosen = settings.load()
    index = read_table(paths.index("development"))
    labels = np.array([CLASSES.index(row["label"]) for row in index])
    held_out = _held_out(index, chosen.groups)
    training, validation = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    for part, rows in (("training", training), ("validation", validation)):
        missing = [name for place, name in enumerate(CLASSES) if place not in labels[rows]]
        if missing:
            raise ProjectError(
                f"no {part} image of class {missing[0]}; groups.validation_percent or the data set is too small"
            )
    _write("validation", validation, labels)
    sizes = {}
    for name, group in chosen.groups.sets.items():
        rows = balance(training, labels[training], chosen.groups.seed) if group.balanced else training
        _write(name, rows, labels)
        sizes[name] = np.bincount(labels[rows], minlength=2)
    from pipeline.learning.augmentation.layers import augmented_copies  # Keras: after the row lists are written

    pixels = np.load(paths.array("development"), mmap_mode="r")
    draw_class_sizes(np.bincount(labels[training], minlength=2), sizes, paths.PLOTS / "groups" / "class_sizes.svg")
    draw_transforms(
        pixels[training[0]], augmented_copies(pixels[training[0]], 5), paths.REPORTS / "figures" / "augmentation.png"
    )


def _held_out(index: Sequence[Mapping[str, str]], groups: Groups) -> np.ndarray:
    """Which rows are of validation patients: bool `[rows]`. A patient with several subtypes counts as of the first of them."""
    subtypes: dict[str, str] = {}
    for row in index:
        subtypes[row["patient"]] = min(row["subtype"], subtypes.get(row["patient"], row["subtype"]))
    return np.array(
        [
            is_validation(row["patient"], subtypes[row["patient"]], groups.salt, groups.validation_percent)
            for row in index
        ]
    )


def _write(name: str, rows: np.ndarray, labels: np.ndarray) -> None:
    write_table(paths.group(name), ["row", "label"], ({"row": row, "label": CLASSES[labels[row]]} for row in rows))


if __name__ == "__main__":
    run("groups", main)
