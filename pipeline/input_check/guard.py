"""Is this a frontal chest radiograph? How the service scores an image; `fit.py` makes what it scores with.

A logistic regression reads two things. What the champion's network sees (`network_features`: channel means of its last maps),
and two numbers of the layout, each of which holds an image against itself, so that neither age nor exposure moves them: how
much better it looks upright than turned or inverted, and how well it agrees with its mirror image.
"""

from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from pipeline.errors import ProjectError
from pipeline.input_check import rank_view

Guard = dict[str, np.ndarray]

REASONS = ("turned", "negative", "cropped", "not a chest")
UPRIGHT_ENOUGH, ALIKE_ENOUGH = 2.0, 0.6  # of the layout: what lies above them says no more
SHIFTS = range(-3, 4)  # cells that the middle of the body may lie beside the middle of the image


class Judgement(NamedTuple):
    """What the check says of one image: its score, the limit above which it is rejected, and in words what seems wrong.

    `unlike`: from here to the limit the image is answered with a warning; without such a band it is the limit itself.
    """

    score: float
    limit: float
    unlike: float
    reason: str

    @property
    def rejected(self) -> bool:
        """Whether the image is not recognised as a frontal chest radiograph."""
        return self.score > self.limit

    @property
    def said(self) -> str:
        """What a person is told; empty where there is nothing to tell."""
        if self.rejected:
            nearest = f"; nearest reason: {self.reason}" if self.reason else ""
            numbers = f"score {self.score:.2f}, limit {self.limit:.2f}"
            return f"not recognised as a frontal chest radiograph ({numbers}{nearest})"
        if self.score > self.unlike:
            return f"unlike the training images (score {self.score:.2f}, usual up to {self.unlike:.2f})"
        return ""


def judge(guard: Guard, pixels: np.ndarray, features: np.ndarray | None) -> Judgement:
    """What the check says of one image, uint8 [side, side], and of its network features, float32 [k]."""
    limit = float(guard["threshold"])
    if not _reads_features(guard):
        return Judgement(float(rank_view.scores(guard, pixels[None])[0]), limit, limit, "")
    if features is None:
        raise ProjectError("the input check reads the output `features`, which the champion's graph does not have")
    seen = inputs(guard["upright"], pixels[None], features[None])
    score = float(linear(guard, "weights", seen)[0])
    reason = REASONS[int(linear(guard, "reasons", seen)[0].argmax())] if score > limit else ""
    return Judgement(score, limit, float(guard["unlike"]), reason)


def scores(guard: Guard, images: np.ndarray, features: np.ndarray | None) -> np.ndarray:
    """The score of each of some images: uint8 [n, side, side] and float32 [n, k] to float [n]."""
    if not _reads_features(guard):
        return rank_view.scores(guard, images)
    if features is None:
        raise ProjectError("the input check reads the output `features`, which the champion's graph does not have")
    return linear(guard, "weights", inputs(guard["upright"], images, features))


def load(source: Path | BinaryIO) -> Guard:
    """Read `guard.npz`, a file or its bytes as a stream.

    Raises:
        ProjectError: it is missing or is no guard.
    """
    try:
        with np.load(source, allow_pickle=False) as arrays:
            guard = dict(arrays)
        width = len(guard["centre"]) - 2
        judge(guard, np.zeros((64, 64), np.uint8), np.zeros(width, np.float32))
    except FileNotFoundError:
        raise ProjectError(f"{source} is missing: the champion has no input guard") from None
    except Exception as error:  # noqa: BLE001 - NumPy and zipfile raise kinds of their own
        raise ProjectError(f"guard.npz is no input guard: {error}") from None
    return guard


def inputs(upright: np.ndarray, images: np.ndarray, features: np.ndarray) -> np.ndarray:
    """What the regression reads: float64 [n, k + 2]; `upright` is the template [16, 16] of an upright chest."""
    return np.column_stack([features, layout(upright, ranks(images))])


def ranks(images: np.ndarray) -> np.ndarray:
    """Ranks of the tones of 16 x 16 cells, from -0.5 to 0.5: uint8 [n, side, side] to float64 [n, 16, 16]."""
    return rank_view.tone_ranks(rank_view.cell_means(images)).reshape(len(images), *2 * [rank_view.CELLS])


def layout(upright: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """How upright and how symmetric each image is, float64 [n, 2]."""
    others = [_agreement(upright, np.rot90(ranks, turns, (1, 2))) for turns in (1, 2, 3)]
    plain = _agreement(upright, ranks)
    margin = plain - np.max([*others, -plain], axis=0)
    return np.column_stack([margin.clip(max=UPRIGHT_ENOUGH), _symmetry(ranks).clip(max=ALIKE_ENOUGH)])


def _agreement(upright: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    return (ranks * upright).sum(axis=(1, 2))


def _symmetry(ranks: np.ndarray) -> np.ndarray:
    """The correlation with the mirror image, the best over some middle lines: float64 [n]."""
    parts = []
    for shift in SHIFTS:
        part = ranks[:, :, max(0, shift) : rank_view.CELLS + min(0, shift)]
        part = part - part.mean(axis=(1, 2), keepdims=True)
        parts.append((part * part[:, :, ::-1]).mean(axis=(1, 2)) / ((part**2).mean(axis=(1, 2)) + 1e-9))
    return np.max(parts, axis=0)


def _reads_features(guard: Guard) -> bool:
    return "upright" in guard


def linear(guard: Guard, name: str, seen: np.ndarray) -> np.ndarray:
    """The regression `name` of inputs [n, k + 2]: `weights` to float64 [n], `reasons` to float64 [n, reasons]."""
    weights = guard[name]
    return ((seen - guard["centre"]) / guard["scale"]) @ weights[..., :-1].T + weights[..., -1]
