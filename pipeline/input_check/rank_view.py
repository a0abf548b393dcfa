"""The input check of 0.1.0, which the champions of that time carry; nothing fits it any more.

Two views of the same 16 x 16 image, its tones replaced by their ranks so that exposure does not matter: how far it lies
from the radiographs (principal components: Mahalanobis distance inside, residual outside), and how much it looks like
made-up negatives (logistic regression). The worse of the two counts.
"""

import functools

import numpy as np

Guard = dict[str, np.ndarray]

CELLS = 16
PLAIN = 4.0  # tones; an image with less contrast over its cells has no ranks worth the name


def scores(guard: Guard, images: np.ndarray) -> np.ndarray:
    """How far out of distribution each of some images is: uint8 [n, side, side] to float [n]."""
    distance, likeness = parts(guard, images)
    return np.maximum(
        (distance - guard["distance_limit"]) / guard["distance_unit"],
        (likeness - guard["likeness_limit"]) / guard["likeness_unit"],
    )


@functools.cache
def _weights(side: int) -> np.ndarray:
    """Share of each row in each of 16 bands, float32 [16, side]."""
    edges = np.linspace(0, side, CELLS + 1)
    places = np.arange(side)
    inside = np.minimum(places + 1, edges[1:, None]) - np.maximum(places, edges[:-1, None])
    inside = inside.clip(0, 1)
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)


def cell_means(images: np.ndarray) -> np.ndarray:
    """Mean tone of 16 x 16 cells: uint8 [n, side, side] to float64 [n, 256]."""
    weights = _weights(images.shape[1])
    return (weights @ images.astype(np.float32) @ weights.T).reshape(len(images), -1).astype(np.float64)


def tone_ranks(cells: np.ndarray) -> np.ndarray:
    """Ranks from -0.5 to 0.5, drawn together where there is next to no contrast."""
    ranks = cells.argsort(axis=1, kind="stable").argsort(axis=1) / (cells.shape[1] - 1) - 0.5
    return ranks * np.minimum(1, cells.std(axis=1, keepdims=True) / PLAIN)


def project(guard: Guard, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standard scores along the axes [n, 40]; logarithms of the mean square inside [n] and of the residual outside [n]."""
    offset = tone_ranks(cells) - guard["mean"]
    along = offset @ guard["axes"].T
    outside = ((offset**2).sum(axis=1) - (along**2).sum(axis=1)).clip(0) / guard["rest"]
    standard = along / np.sqrt(guard["spread"])
    return standard, np.log((standard**2).mean(axis=1) + 0.1), np.log(outside + 1e-3)


def view(guard: Guard, images: np.ndarray) -> np.ndarray:
    """What the logistic part looks at: distances, contrast and grain, with their squares; uint8 [n, side, side] to [n, k]."""
    cells = cell_means(images)
    standard, inside, outside = project(guard, cells)
    contrast = np.log(cells.std(axis=1) + 1)
    grain = np.log(np.abs(np.diff(images.astype(np.int16), axis=2)).mean(axis=(1, 2)) / (cells.std(axis=1) + 1) + 1e-3)
    plain = np.column_stack([inside, outside, contrast, grain])
    return np.column_stack([plain, plain**2, standard.clip(-6, 6), (standard**2).clip(0, 36)])


def parts(guard: Guard, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distance and the likeness to negatives of some images, each float [n], in units of their own."""
    _, inside, outside = project(guard, cell_means(images))
    features = (view(guard, images) - guard["centre"]) / guard["scale"]
    return inside + outside, features @ guard["weights"][:-1] + guard["weights"][-1]
