"""The words of the data set: its classes, splits and subtypes."""

from collections.abc import Iterable, Mapping

import numpy as np

CLASSES = NORMAL, PNEUMONIA = ("NORMAL", "PNEUMONIA")
SPLITS = ("train", "val", "test")
EVALUATED = ("validation", "test")  # validation: patients drawn from train and val
SUBTYPES = {NORMAL: ("normal",), PNEUMONIA: ("bacterial", "viral", "unknown")}  # unknown: images of one's own
ALL_SUBTYPES = tuple(name for names in SUBTYPES.values() for name in names)


def are_pneumonia(rows: Iterable[Mapping[str, str]]) -> np.ndarray:
    """Of rows of a table with the column `label`: bool [n]."""
    return np.array([row["label"] == PNEUMONIA for row in rows], dtype=bool)
