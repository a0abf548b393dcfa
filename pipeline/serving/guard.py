"""Is this a frontal chest X-ray? A score for pictures that are not, from a coarse view of the picture.

Two views of the same 16 x 16 picture, its tones replaced by their ranks so that exposure does not matter: how far it lies
from the radiographs (principal components: Mahalanobis distance inside, residual outside), and how much it looks like
generated strangers (logistic regression). The worse of the two counts.
"""

import functools
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from pipeline.errors import ProjectError
from pipeline.serving import strangers

Guard = dict[str, np.ndarray]

CELLS = 16
AXES = 60
REFUSED = 0.005  # of the validation pictures
PLAIN = 4.0  # tones; a picture with less contrast over its cells has no ranks worth the name
RIDGE = 10.0
SAMPLES = 200  # of each kind of stranger
MOST = 3000  # radiographs that are fitted
MOVED = 1000  # of them that are fitted a second time, moved and lit otherwise


def fit(chest: np.ndarray, seed: int) -> Guard:
    """Fit a guard on radiographs alone; strangers are generated.

    Args:
        chest: uint8 [n, side, side], frontal chest X-rays of training patients, some hundreds or more; 3000 are drawn.
        seed: of everything drawn.

    Returns:
        Arrays for `guard.npz`; `calibrate` moves the threshold to validation pictures.
    """
    return _finish(_prepare(chest, seed), tuple(strangers.KINDS))


def calibrate(guard: Guard, pictures: np.ndarray) -> Guard:
    """The same guard with the threshold that refuses 0.5 % of `pictures`, uint8 [n, side, side]: the validation pictures."""
    return guard | {"threshold": np.quantile(scores(guard, pictures), 1 - REFUSED)}


def score(guard: Guard, pixels: np.ndarray) -> float:
    """How strange one picture is, uint8 [side, side]; above `guard["threshold"]` it is refused."""
    return float(scores(guard, pixels[None])[0])


def scores(guard: Guard, pictures: np.ndarray) -> np.ndarray:
    """How strange each of some pictures is: uint8 [n, side, side] to float [n]."""
    distance, likeness = _parts(guard, pictures)
    return np.maximum(
        (distance - guard["distance_limit"]) / guard["distance_unit"],
        (likeness - guard["likeness_limit"]) / guard["likeness_unit"],
    )


def left_out(chest: np.ndarray, validation: np.ndarray, seed: int) -> dict[str, float]:
    """Share of each kind of stranger that is accepted by a guard fitted without that kind; arguments as for `fit`."""
    prepared = _prepare(chest, seed)
    accepted = {}
    for kind in strangers.KINDS:
        guard = calibrate(_finish(prepared, tuple(other for other in strangers.KINDS if other != kind)), validation)
        pictures = strangers.make(kind, SAMPLES, validation, seed + 1)
        accepted[kind] = float(np.mean(scores(guard, pictures) <= guard["threshold"]))
    return accepted


def load(source: Path | BinaryIO) -> Guard:
    """Read `guard.npz`, a file or its bytes as a stream.

    Raises:
        ProjectError: it is missing or is no guard.
    """
    try:
        with np.load(source, allow_pickle=False) as arrays:
            guard = dict(arrays)
        score(guard, np.zeros((64, 64), np.uint8))
    except FileNotFoundError:
        raise ProjectError(f"{source} is missing: the champion has no input guard") from None
    except Exception as error:  # noqa: BLE001 - NumPy and zipfile raise kinds of their own
        raise ProjectError(f"guard.npz is no input guard: {error}") from None
    return guard


class _Prepared(NamedTuple):
    """What all guards of one set of radiographs share: components, and features of the pictures."""

    components: Guard
    chest: np.ndarray
    strange: dict[str, np.ndarray]
    held: np.ndarray


def _prepare(chest: np.ndarray, seed: int) -> _Prepared:
    random = np.random.default_rng(seed)
    order = random.permutation(len(chest))[:MOST]
    held, used = chest[np.sort(order[: len(order) // 10])], chest[np.sort(order[len(order) // 10 :])]
    ranks = _ranks(_cells(used))
    mean = ranks.mean(axis=0)
    _, lengths, axes = np.linalg.svd(ranks - mean, full_matrices=False)
    spread = lengths**2 / len(ranks)
    components = {"mean": mean, "axes": axes[:AXES], "spread": spread[:AXES], "rest": spread[AXES:].sum()}
    features = _features(components, np.concatenate([used, _moved(used[:MOVED], random)]))
    strange = {kind: _features(components, strangers.make(kind, SAMPLES, used, seed)) for kind in strangers.KINDS}
    return _Prepared(components, features, strange, held)


def _finish(prepared: _Prepared, kinds: tuple[str, ...]) -> Guard:
    strange = np.concatenate([prepared.strange[kind] for kind in kinds])
    guard = prepared.components | _logistic(prepared.chest, strange)
    for name, found in zip(("distance", "likeness"), _parts(guard, prepared.held), strict=True):
        guard[f"{name}_limit"] = np.quantile(found, 1 - REFUSED / 2)
        guard[f"{name}_unit"] = found.std()
    return calibrate(guard, prepared.held)


@functools.cache
def _weights(side: int) -> np.ndarray:
    """Share of each row in each of 16 bands, float32 [16, side]."""
    edges = np.linspace(0, side, CELLS + 1)
    places = np.arange(side)
    inside = np.minimum(places + 1, edges[1:, None]) - np.maximum(places, edges[:-1, None])
    inside = inside.clip(0, 1)
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)


def _cells(pictures: np.ndarray) -> np.ndarray:
    """Mean tone of 16 x 16 cells: uint8 [n, side, side] to float64 [n, 256]."""
    weights = _weights(pictures.shape[1])
    return (weights @ pictures.astype(np.float32) @ weights.T).reshape(len(pictures), -1).astype(np.float64)


def _ranks(cells: np.ndarray) -> np.ndarray:
    """Ranks from -0.5 to 0.5, drawn together where there is next to no contrast."""
    ranks = cells.argsort(axis=1, kind="stable").argsort(axis=1) / (cells.shape[1] - 1) - 0.5
    return ranks * np.minimum(1, cells.std(axis=1, keepdims=True) / PLAIN)


def _project(guard: Guard, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standard scores along the axes [n, 40]; logarithms of the mean square inside [n] and of the residual outside [n]."""
    offset = _ranks(cells) - guard["mean"]
    along = offset @ guard["axes"].T
    outside = ((offset**2).sum(axis=1) - (along**2).sum(axis=1)).clip(0) / guard["rest"]
    standard = along / np.sqrt(guard["spread"])
    return standard, np.log((standard**2).mean(axis=1) + 0.1), np.log(outside + 1e-3)


def _features(guard: Guard, pictures: np.ndarray) -> np.ndarray:
    cells = _cells(pictures)
    standard, inside, outside = _project(guard, cells)
    contrast = np.log(cells.std(axis=1) + 1)
    grain = np.log(
        np.abs(np.diff(pictures.astype(np.int16), axis=2)).mean(axis=(1, 2)) / (cells.std(axis=1) + 1) + 1e-3
    )
    plain = np.column_stack([inside, outside, contrast, grain])
    return np.column_stack([plain, plain**2, standard.clip(-6, 6), (standard**2).clip(0, 36)])


def _parts(guard: Guard, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, inside, outside = _project(guard, _cells(pictures))
    features = (_features(guard, pictures) - guard["centre"]) / guard["scale"]
    return inside + outside, features @ guard["weights"][:-1] + guard["weights"][-1]


def _logistic(chest: np.ndarray, strange: np.ndarray) -> Guard:
    """Ridge logistic regression, both classes weighing the same, by Newton's method."""
    features = np.concatenate([chest, strange])
    centre, scale = features.mean(axis=0), features.std(axis=0) + 1e-9
    inputs = np.column_stack([(features - centre) / scale, np.ones(len(features))])
    target = np.r_[np.zeros(len(chest)), np.ones(len(strange))]
    share = np.r_[np.full(len(chest), 0.5 / len(chest)), np.full(len(strange), 0.5 / len(strange))] * len(features)
    ridge = np.diag(np.r_[np.full(features.shape[1], RIDGE), 0])
    weights = np.zeros(inputs.shape[1])
    for _ in range(30):
        found = 1 / (1 + np.exp(-(inputs @ weights).clip(-30, 30)))
        slope = inputs.T @ (share * (found - target)) + ridge @ weights
        bend = (inputs * (share * found * (1 - found))[:, None]).T @ inputs + ridge + 1e-6 * np.eye(len(weights))
        step = np.linalg.solve(bend, slope)
        weights -= step
        if np.abs(step).max() < 1e-4:
            break
    return {"centre": centre, "scale": scale, "weights": weights}


def _moved(chest: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Radiographs shifted, turned by some degrees, zoomed and lit otherwise: films of other hospitals lie otherwise too."""
    side = chest.shape[1]
    moved = np.empty_like(chest)
    for place, picture in enumerate(chest):
        zoom, shift = random.uniform(0.85, 1.2, 2), random.uniform(-0.08, 0.08, 2) * side
        angle = np.deg2rad(random.uniform(-7, 7))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * zoom[:, None]
        offset = side / 2 + shift - turn @ np.full(2, side / 2)
        matrix = (*turn[0], offset[0], *turn[1], offset[1])
        drawn = Image.fromarray(picture).transform(
            (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
        moved[place] = np.rint(255 * (np.asarray(drawn) / 255.0) ** random.uniform(0.6, 1.6))
    return moved
