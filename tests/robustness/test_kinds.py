"""The kinds of change that recipes and families declare, against what they do to images."""

from typing import get_args

import keras
import numpy as np
import pytest
from keras import ops

from pipeline.learning import augmentation
from pipeline.learning.augmentation.layers import build_augmentation
from pipeline.robustness.families import TRAINED, UNSEEN, Kind

SIDE = 128
DRAWS = 32  # of a layer
CHANGES = {**TRAINED.changes, **UNSEEN.changes}
TRAINED_ON = frozenset().union(*(augmentation.get(name).KINDS for name in augmentation.names()))

FLAT = np.full((SIDE, SIDE), 128, np.uint8)
HALVES = np.where(np.arange(SIDE) < SIDE // 2, 78, 178).astype(np.uint8) * np.ones((SIDE, 1), np.uint8)
BLOCKS = (slice(32, 96), slice(20, 40)), (slice(32, 96), slice(88, 108))  # well inside either half
SQUARE = slice(40, 48), slice(32, 40)  # one of JPEG's squares, off the centre
STIMULUS = FLAT.copy()
STIMULUS[40:48, 32:36] = 228  # its left half


def kind_of(change, draws=1):
    """What one change does, by what it makes of plain images; `change` sends uint8 [draws, side, side] to the same.

    Raises:
        AssertionError: it does none of what has a name.
    """
    flat, halves, stimulus = (change(np.stack([image] * draws)).astype(int) for image in (FLAT, HALVES, STIMULUS))
    for rule in (_cut_off, _covered, _everywhere, _by_place, _by_value):
        if kind := rule(flat, halves):
            return kind
    return _moved(stimulus - flat)


def _cut_off(flat, _):
    black = flat == 0
    edges = (black[:, 0].all(1), black[:, -1].all(1), black[:, :, 0].all(1), black[:, :, -1].all(1))
    return "collimation" if np.any(edges) and not black[:, 32:96, 32:96].any() else None


def _covered(flat, _):
    """Few pixels are changed, all to black or all to white."""
    changed = flat != 128
    if not 0.005 < changed.mean() < 0.2:
        return None
    return {(0,): "detector", (255,): "overlay"}.get(tuple(np.unique(flat[changed])))


def _everywhere(flat, _):
    """Most pixels are changed, and neighbours differ: at random, or with one period."""
    rest = flat - flat.mean(axis=(1, 2), keepdims=True)
    if np.abs(np.diff(rest, axis=2)).mean() < 2:
        return None
    power = np.abs(np.fft.fft2(rest[0])) ** 2
    return "grid" if np.sort(power.ravel())[-2:].sum() > 0.8 * power.sum() else "noise"


def _by_place(flat, _):
    smooth = max(np.abs(np.diff(flat, axis=1)).max(), np.abs(np.diff(flat, axis=2)).max()) <= 4
    return "illumination" if smooth and np.ptp(flat, axis=(1, 2)).max() > 10 else None


def _by_value(_, halves):
    """Plain areas stay plain, and have another grey value."""
    areas = np.stack([halves[:, rows, columns] for rows, columns in BLOCKS])
    assert np.ptp(areas, axis=(2, 3)).max() <= 1
    return "tone" if np.abs(areas[..., 0, 0] - [[78], [178]]).max() > 3 else None


def _moved(response):
    """Plain images are left alone: where, and how wide, is what came of the stimulus?"""
    seen = np.abs(response) > 1
    elsewhere = seen.copy()
    elsewhere[:, *SQUARE] = False
    if not elsewhere.any():
        assert seen[:, 40:48, 36:40].any(), "nothing happened"
        return "compression"
    weight = np.clip(response, 0, None).astype(float)
    rows, columns = (np.average(grid, weights=weight.mean(0)) for grid in np.mgrid[:SIDE, :SIDE])
    each = [(weight * grid).sum((1, 2)) / weight.sum((1, 2)) for grid in np.mgrid[:SIDE, :SIDE]]
    away = max(np.abs(each[0] - 43.5).max(), np.abs(each[1] - 33.5).max())
    if away > 1.5:
        return "geometry"
    assert rows == pytest.approx(43.5, abs=0.5)
    assert columns == pytest.approx(33.5, abs=0.5)
    return "blur"


def layer_as_change(layer):
    """A layer's draws in training, as uint8 [n, side, side] to the same."""

    def change(images):
        drawn = layer(ops.cast(images[..., None], "float32"), training=True)
        return np.rint(np.clip(ops.convert_to_numpy(drawn)[..., 0], 0, 255)).astype(np.uint8)

    return change


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_of_the_kind_that_it_declares(name):
    assert kind_of(CHANGES[name]) == CHANGES[name].kind


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", augmentation.names())
def test_each_recipe_declares_the_kinds_that_its_layers_draw(name, compiled):
    keras.utils.set_random_seed(1)
    kinds = {kind_of(layer_as_change(layer), DRAWS) for layer in build_augmentation(name, compiled=compiled)}
    assert kinds == augmentation.get(name).KINDS


def noise():
    """Keras' noise is for values from 0 to 1."""
    scales = keras.layers.Rescaling(1 / 255), keras.layers.Rescaling(255.0)
    return keras.Sequential([scales[0], keras.layers.GaussianNoise(0.05, seed=0), scales[1]])


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (noise(), "noise"),
        (keras.layers.AveragePooling2D(5, strides=1, padding="same"), "blur"),
        (keras.layers.RandomShear(0.15, 0.15, fill_mode="nearest", seed=0), "geometry"),
        (keras.layers.RandomInvert(1.0, value_range=(0, 255), seed=0), "tone"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_what_a_recipe_does_not_declare_would_be_seen(layer, kind):
    """Layers of Keras that some recipe might come to use."""
    assert kind_of(layer_as_change(layer), 4) == kind


@pytest.mark.parametrize("name", augmentation.names())
def test_no_recipe_trains_on_a_kind_of_the_unseen_family(name):
    assert not UNSEEN.kinds & augmentation.get(name).KINDS


def test_every_declared_kind_is_one_that_has_a_name():
    assert TRAINED_ON | TRAINED.kinds | UNSEEN.kinds <= set(get_args(Kind))


def test_eight_changes_of_the_first_family_are_of_kinds_that_robust_trains_on():
    assert sum(change.kind in augmentation.get("robust").KINDS for change in TRAINED.changes.values()) == 8
