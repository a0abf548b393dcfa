import numpy as np
import pytest

from pipeline.data.stress import CHANGES

PICTURES = np.random.default_rng(0).integers(0, 256, (4, 64, 64), dtype=np.uint8)


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_keeps_shape_and_type_and_is_repeatable(name):
    before = PICTURES.copy()
    changed = CHANGES[name](PICTURES)
    assert changed.shape == PICTURES.shape
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, PICTURES)
    assert np.array_equal(changed, CHANGES[name](PICTURES))
    assert np.array_equal(PICTURES, before), "the input is left alone"


@pytest.mark.parametrize("name", CHANGES)
def test_each_picture_is_changed_by_itself(name):
    assert np.array_equal(CHANGES[name](PICTURES)[2], CHANGES[name](PICTURES[2:3])[0])


def test_directions():
    grey = np.full((1, 8, 8), 100, np.uint8)
    assert CHANGES["gamma_0.6"](grey).mean() > 100 > CHANGES["gamma_1.6"](grey).mean()
    assert CHANGES["brighter_0.15"](grey).mean() == 138
    assert CHANGES["darker_0.15"](grey).mean() == 62
    assert CHANGES["contrast_1.4"](PICTURES).std() > PICTURES.std() > CHANGES["contrast_0.6"](PICTURES).std()
    assert CHANGES["blur_0.8"](PICTURES).std() < PICTURES.std()
    assert CHANGES["side_bars_0.1"](PICTURES)[:, :, :6].max() == 0


def test_a_stretch_enlarges_one_axis():
    square = np.zeros((1, 100, 100), np.uint8)
    square[0, 40:60, 40:60] = 255
    wider = CHANGES["wider_1.28"](square)[0] > 127
    taller = CHANGES["taller_1.28"](square)[0] > 127
    assert (wider.any(0).sum(), wider.any(1).sum()) == (26, 20)
    assert (taller.any(0).sum(), taller.any(1).sum()) == (20, 26)
