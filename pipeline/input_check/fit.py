"""Fit the input check on radiographs alone: its negatives are made up (`ood_negatives.py`)."""

from typing import NamedTuple

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression

from pipeline.input_check import guard as guards
from pipeline.input_check import ood_negatives
from pipeline.input_check.guard import Guard

AXES = 60
REFUSED = 0.005  # of the validation images
RIDGE = 10.0
SAMPLES = 200  # of each kind of made-up negative
MOST = 3000  # radiographs that are fitted
MOVED = 1000  # of them that are fitted a second time, moved and lit otherwise


def fit(chest: np.ndarray, seed: int) -> Guard:
    """Fit a guard on radiographs alone; its negatives are made up.

    Args:
        chest: uint8 [n, side, side], frontal chest X-rays of training patients, some hundreds or more; 3000 are drawn.
        seed: of everything drawn.

    Returns:
        Arrays for `guard.npz`; `calibrate` moves the threshold to validation pictures.
    """
    return _finish(_prepare(chest, seed), tuple(ood_negatives.KINDS))


def calibrate(guard: Guard, pictures: np.ndarray) -> Guard:
    """The same guard with the threshold that refuses 0.5 % of `pictures`, uint8 [n, side, side]: the validation pictures."""
    return guard | {"threshold": np.quantile(guards.scores(guard, pictures), 1 - REFUSED)}


def left_out(chest: np.ndarray, validation: np.ndarray, seed: int) -> dict[str, float]:
    """Share of each kind of made-up negative that is accepted by a guard fitted without that kind; arguments as for `fit`."""
    prepared = _prepare(chest, seed)
    accepted = {}
    for kind in ood_negatives.KINDS:
        guard = calibrate(_finish(prepared, tuple(other for other in ood_negatives.KINDS if other != kind)), validation)
        pictures = ood_negatives.make(kind, SAMPLES, validation, seed + 1)
        accepted[kind] = float(np.mean(guards.scores(guard, pictures) <= guard["threshold"]))
    return accepted


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
    ranks = guards.tone_ranks(guards.cell_means(used))
    mean = ranks.mean(axis=0)
    _, lengths, axes = np.linalg.svd(ranks - mean, full_matrices=False)
    spread = lengths**2 / len(ranks)
    components = {"mean": mean, "axes": axes[:AXES], "spread": spread[:AXES], "rest": spread[AXES:].sum()}
    features = guards.view(components, np.concatenate([used, _moved(used[:MOVED], random)]))
    strange = {
        kind: guards.view(components, ood_negatives.make(kind, SAMPLES, used, seed)) for kind in ood_negatives.KINDS
    }
    return _Prepared(components, features, strange, held)


def _finish(prepared: _Prepared, kinds: tuple[str, ...]) -> Guard:
    strange = np.concatenate([prepared.strange[kind] for kind in kinds])
    guard = prepared.components | _logistic(prepared.chest, strange)
    for name, found in zip(("distance", "likeness"), guards.parts(guard, prepared.held), strict=True):
        guard[f"{name}_limit"] = np.quantile(found, 1 - REFUSED / 2)
        guard[f"{name}_unit"] = found.std()
    return calibrate(guard, prepared.held)


def _logistic(chest: np.ndarray, strange: np.ndarray) -> Guard:
    """Ridge logistic regression on standardised features, both classes weighing the same."""
    features = np.concatenate([chest, strange])
    centre, scale = features.mean(axis=0), features.std(axis=0) + 1e-9
    target = np.r_[np.zeros(len(chest), bool), np.ones(len(strange), bool)]
    line = LogisticRegression(C=1 / RIDGE, class_weight="balanced", max_iter=1000)
    line.fit((features - centre) / scale, target)
    return {"centre": centre, "scale": scale, "weights": np.r_[line.coef_[0], line.intercept_]}


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
