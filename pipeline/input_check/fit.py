"""Fit the input check: radiographs of training patients and varied copies of them against made-up negatives."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from pipeline.errors import ProjectError
from pipeline.input_check import guard as guards
from pipeline.input_check import ood_negatives, variations
from pipeline.input_check.guard import Guard

REFUSED = 0.0099  # of the validation patients at most, whatever their number
UNLIKE = 0.05  # of the validation images lie above the start of the band that is answered with a warning
STRENGTH = 2.8e-4  # scikit-learn's C: the features are many, and those of other hospitals lie elsewhere
LAYOUT = np.array([20.0, 20.0])  # how much more freely than a feature the two numbers of the layout may weigh
TEMPLATE_STRENGTH, REASON_STRENGTH = 1e-3, 3e-4
MOST = 1000  # radiographs that are fitted, with a varied copy of each
SAMPLES = 100  # of each kind of made-up negative
ASKED = 80  # of each kind that is left out and asked
SELF = ("turned", "negative")  # kinds that the layout tells without having been fitted against them
CROP_SHARE = 0.8  # of each axis, in the middle: what a tight collimation leaves


class Seen(NamedTuple):
    """What the check reads of n images: ranks [n, 16, 16] and network features [n, k]."""

    ranks: np.ndarray
    features: np.ndarray


class Validation(NamedTuple):
    """Images of validation patients, and whose each is: [n]."""

    seen: Seen
    patients: np.ndarray


Ask = Callable[[np.ndarray, str], Seen]  # of images uint8 [n, side, side], and what they are


class Material(NamedTuple):
    """What a check is fitted on: radiographs as they are and varied, and made-up negatives by kind."""

    plain: Seen
    varied: Seen
    negatives: Mapping[str, Seen]


def seen(images: np.ndarray, features: np.ndarray | None) -> Seen:
    """What the check reads of images, uint8 [n, side, side], and of their network features, float32 [n, k]."""
    if features is None:
        raise ProjectError("the input check reads the output `features`, which the graph does not have")
    return Seen(guards.ranks(images), features)


def gather(chest: np.ndarray, ask: Ask, seed: int) -> Material:
    """Draw, vary and make up images, and ask the network about all of them.

    Args:
        chest: uint8 [n, side, side], frontal chest radiographs of training patients, some hundreds or more; 1000 are drawn.
        ask: the network.
        seed: of everything drawn.
    """
    random = np.random.default_rng(seed)
    used = chest[np.sort(random.permutation(len(chest))[:MOST])]
    negatives = {kind: ask(ood_negatives.make(kind, SAMPLES, used, seed), kind) for kind in ood_negatives.KINDS}
    return Material(ask(used, "training"), ask(variations.vary(random, used), "varied"), negatives)


def fit(material: Material, validation: Validation) -> Guard:
    """The check; its limit is a quantile of the validation patients, each with the worst of their images."""
    fitted = _accept(material, validation, _template(material))
    made_up = {kind: _rows(fitted["upright"], seen) for kind, seen in material.negatives.items()}
    standard = {kind: (rows - fitted["centre"]) / fitted["scale"] for kind, rows in made_up.items()}
    return fitted | {"reasons": _reasons(standard)}


def _accept(material: Material, validation: Validation, upright: np.ndarray, without: str | None = None) -> Guard:
    """The check without its reasons; `without` leaves a kind of negatives out."""
    chest = np.concatenate([_rows(upright, material.plain), _rows(upright, material.varied)])
    kinds = [kind for kind in material.negatives if kind not in (*SELF, without)]
    both = np.concatenate([chest, *(_rows(upright, material.negatives[kind]) for kind in kinds)])
    centre, scale = both.mean(axis=0), both.std(axis=0) + 1e-6
    scale[-2:] /= LAYOUT
    line = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=3000)
    line.fit((both - centre) / scale, np.arange(len(both)) >= len(chest))
    fitted = {"upright": upright, "centre": centre, "scale": scale, "weights": np.r_[line.coef_[0], line.intercept_]}
    scores = _scores(fitted, validation.seen)
    worst = [scores[validation.patients == patient].max() for patient in np.unique(validation.patients)]
    limit = np.quantile(worst, 1 - REFUSED, method="higher")
    return fitted | {"threshold": limit, "unlike": min(np.quantile(scores, 1 - UNLIKE), limit)}


def rejects(guard: Guard, seen: Seen) -> np.ndarray:
    """Which images the check rejects, bool [n]."""
    return _scores(guard, seen) > guard["threshold"]


def patients_rejected(guard: Guard, images: Validation) -> float:
    """Share of the patients of whom the check rejects at least one image."""
    rejected = np.unique(images.patients[rejects(guard, images.seen)])
    return len(rejected) / len(np.unique(images.patients))


def left_out(material: Material, validation: Validation, asked: Mapping[str, Seen]) -> dict[str, float]:
    """Share of each kind of made-up negatives, `asked`, that is accepted by a check fitted without that kind."""
    plain = _template(material)
    accepted = {}
    for kind, others in asked.items():
        upright = _template(material, without=kind) if kind in SELF else plain
        check = _accept(material, validation, upright, without=kind)
        accepted[kind] = float(np.mean(~rejects(check, others)))
    return accepted


def ask_negatives(chest: np.ndarray, ask: Ask, seed: int, count: int = ASKED) -> dict[str, Seen]:
    """Negatives of each kind that no check was fitted on, from radiographs of other patients, uint8 [n, side, side]."""
    return {kind: ask(ood_negatives.make(kind, count, chest, seed + 1), kind) for kind in ood_negatives.KINDS}


def central(images: np.ndarray) -> np.ndarray:
    """The central 80 % of each side of images, uint8 [n, side, side], as large as before."""
    side = images.shape[1]
    edge = round(side * (1 - CROP_SHARE) / 2)
    return np.stack([variations.resized(image[edge : side - edge, edge : side - edge], side, side) for image in images])


def reasons_told(guard: Guard, asked: Mapping[str, Seen]) -> dict[str, dict[str, int]]:
    """By kind of rejected negatives: how often each reason is the nearest."""
    told: dict[str, Any] = {}
    for kind, seen in asked.items():
        rows = _rows(guard["upright"], seen)[rejects(guard, seen)]
        places = guards.linear(guard, "reasons", rows).argmax(axis=1)
        told[kind] = {reason: int(np.sum(places == place)) for place, reason in enumerate(guards.REASONS)}
    return told


def _scores(guard: Guard, seen: Seen) -> np.ndarray:
    return guards.linear(guard, "weights", _rows(guard["upright"], seen))


def _rows(upright: np.ndarray, seen: Seen) -> np.ndarray:
    """What the regressions read: float64 [n, k + 2]."""
    return np.column_stack([seen.features, guards.layout(upright, seen.ranks)])


def _template(material: Material, without: str | None = None) -> np.ndarray:
    """The template that an upright chest agrees with better than its turned and inverted self: float64 [16, 16]."""
    ranks = np.concatenate([material.plain.ranks, material.varied.ranks])
    others = [] if without == "turned" else [np.rot90(ranks, turns, (1, 2)) for turns in (1, 2, 3)]
    others += [] if without == "turned" else [ranks[:, ::-1]]
    others += [] if without == "negative" else [-ranks]
    better = np.concatenate([ranks - other for other in others]).reshape(-1, ranks[0].size)
    line = LogisticRegression(C=TEMPLATE_STRENGTH, fit_intercept=False, max_iter=3000)
    line.fit(np.concatenate([better, -better]), np.arange(2 * len(better)) < len(better))
    return line.coef_[0].reshape(ranks[0].shape)


def _reasons(made_up: Mapping[str, np.ndarray]) -> np.ndarray:
    """The regression that names the nearest reason: float64 [reasons, inputs + 1]."""
    place = {kind: guards.REASONS.index(kind if kind in guards.REASONS else "not a chest") for kind in made_up}
    target = np.concatenate([np.full(len(seen_of_kind), place[kind]) for kind, seen_of_kind in made_up.items()])
    line = LogisticRegression(C=REASON_STRENGTH, class_weight="balanced", max_iter=3000)
    line.fit(np.concatenate(list(made_up.values())), target)  # its classes are sorted, as the reasons are numbered
    return np.column_stack([line.coef_, line.intercept_])
