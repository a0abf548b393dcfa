"""Data groups: lists of row numbers of the development array. Only training rows are ever repeated."""

import numpy as np

from pipeline.errors import ProjectError


def balance(rows: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Repeat rows of the rare class, drawn at random with replacement, until both classes are equal.

    Args:
        rows: int [n], row numbers of the development array.
        labels: int [n], 0 or 1, of those rows.
        seed: of the draw.

    Returns:
        int [m], m >= n, sorted; every given row is there at least once.

    Raises:
        ProjectError: one class has no row.
    """
    counts = np.bincount(labels, minlength=2)
    if counts.min() == 0:
        raise ProjectError(
            f"cannot balance: class {('NORMAL', 'PNEUMONIA')[int(counts.argmin())]} has no training image"
        )
    rare = rows[labels == counts.argmin()]
    drawn = np.random.default_rng(seed).choice(rare, size=int(counts.max() - counts.min()), replace=True)
    return np.sort(np.concatenate([rows, drawn]))
