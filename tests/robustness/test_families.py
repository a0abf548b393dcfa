"""The families of changes: what each change does, and that nothing alters one unnoticed."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.robustness import changes
from pipeline.robustness.families import TRAINED, UNSEEN

CHANGES = {**TRAINED.changes, **UNSEEN.changes}


def generated(side=64):
    """Rays, rings and fine texture in whole numbers, so that every machine has the same: uint8 [4, side, side]."""
    count, rows, columns = np.ogrid[:4, :side, :side]
    rings = ((rows - side // 2) ** 2 + (columns - side // 2) ** 2) // side
    return ((40 * count + 3 * rings + 2 * columns + (rows * columns) % (11 + count)) % 256).astype(np.uint8)


IMAGES = generated()


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_keeps_shape_and_type_and_is_repeatable(name):
    before = IMAGES.copy()
    changed = CHANGES[name](IMAGES)
    assert changed.shape == IMAGES.shape
    assert changed.dtype == np.uint8
    assert all((new != old).any() for new, old in zip(changed, IMAGES, strict=True))
    assert np.array_equal(changed, CHANGES[name](IMAGES))
    assert np.array_equal(IMAGES, before), "the input is left alone"


@pytest.mark.parametrize("name", CHANGES)
def test_each_image_is_changed_by_itself(name):
    together = CHANGES[name](IMAGES)
    assert np.array_equal(together[2], CHANGES[name](IMAGES[2:3])[0])
    assert np.array_equal(together[::-1], CHANGES[name](IMAGES[::-1]))


@pytest.mark.parametrize("name", CHANGES)
def test_a_read_only_image_table_can_be_changed(name):
    """The arrays are memory-mapped."""
    table = IMAGES.copy()
    table.flags.writeable = False
    assert np.array_equal(CHANGES[name](table), CHANGES[name](IMAGES))


def test_the_families_share_no_name_and_every_name_says_its_parameter():
    assert not set(TRAINED.changes) & set(UNSEEN.changes)
    assert TRAINED.name != UNSEEN.name
    assert all(name[-1].isdigit() for name in CHANGES)


PINNED = {
    ("stress", 1): {
        "gamma_0.6": "62fc5065889281be",
        "gamma_1.6": "cc498d42559154f4",
        "contrast_0.6": "fd57a2693d7a8cd3",
        "contrast_1.4": "675a47c2e3c497c7",
        "darker_0.15": "f10fa0649f812631",
        "brighter_0.15": "0d37d300d7bbbdef",
        "blur_0.8": "4ca48f5bee695b0e",
        "wider_1.28": "41246ce508133168",
        "taller_1.28": "3f8f61a9349b7651",
        "side_bars_0.1": "9948346f12d5f436",
        "jpeg_40": "16adae599fff82bf",
    },
    ("unseen", 1): {
        "grid_lines_0.4_8": "e653be3a627c3345",
        "poisson_80": "fbc32e40d9baaddd",
        "dead_pixels_0.015": "0dc7b2554bacbbb7",
        "dead_rows_3": "672aeb270063ff5d",
        "motion_0.15": "c8a54ae40ac0610a",
        "blur_3": "967cbd4d3c9d974c",
        "jpeg_4": "2d27780d5b2096bf",
        "marker_0.3": "ca4d124cd0423684",
        "leads_0.015": "e791f8e3fbea361a",
        "shadow_left_0.9": "50a4aebe77128ed8",
        "haze_right_0.8": "25b016e3a8b58551",
    },
}


def digest(images):
    return hashlib.sha256(images.tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("family", [TRAINED, UNSEEN], ids=lambda family: family.name)
def test_a_change_that_is_altered_raises_the_version(family):
    """A family with other changes is another family: raise `version`, pin the digests of the new one, and measure anew."""
    digests = {name: digest(change(IMAGES)) for name, change in family.changes.items()}
    assert PINNED.get((family.name, family.version)) == digests


def test_directions_of_the_first_family():
    grey = np.full((1, 8, 8), 100, np.uint8)
    assert CHANGES["gamma_0.6"](grey).mean() > 100 > CHANGES["gamma_1.6"](grey).mean()
    assert CHANGES["brighter_0.15"](grey).mean() == 138
    assert CHANGES["darker_0.15"](grey).mean() == 62
    assert CHANGES["contrast_1.4"](IMAGES).std() > IMAGES.std() > CHANGES["contrast_0.6"](IMAGES).std()
    assert CHANGES["blur_0.8"](IMAGES).std() < IMAGES.std()
    assert CHANGES["side_bars_0.1"](IMAGES)[:, :, :6].max() == 0


def test_a_stretch_enlarges_one_axis():
    square = np.zeros((1, 100, 100), np.uint8)
    square[0, 40:60, 40:60] = 255
    wider = CHANGES["wider_1.28"](square)[0] > 127
    taller = CHANGES["taller_1.28"](square)[0] > 127
    assert (wider.any(0).sum(), wider.any(1).sum()) == (26, 20)
    assert (taller.any(0).sum(), taller.any(1).sum()) == (20, 26)


FLAT = np.full((1, 128, 128), 100, np.uint8)


def test_poisson_noise_keeps_the_mean_and_has_the_variance_of_its_quanta():
    for grey in (40, 100, 160):
        noisy = changes.poisson(50)(np.full((1, 256, 256), grey, np.uint8)).astype(float)
        assert noisy.mean() == pytest.approx(grey, rel=0.01)
        assert noisy.var() == pytest.approx(grey * 255 / 50, rel=0.05)


def test_a_share_of_the_pixels_is_dead():
    assert (changes.dead_pixels(0.05)(FLAT) == 0).mean() == pytest.approx(0.05, abs=0.01)
    assert set(np.unique(changes.dead_pixels(0.05)(FLAT))) == {0, 100}


@given(count=st.integers(1, 16), side=st.integers(32, 160))
def test_dead_rows_are_as_many_as_said(count, side):
    rows = changes.dead_rows(count)(np.full((1, side, side), 9, np.uint8))[0]
    dead = (rows == 0).all(axis=1)
    assert dead.sum() == count
    assert (rows[~dead] == 9).all()


def test_grid_lines_have_their_period_and_leave_the_mean_and_what_is_black():
    lined = changes.grid_lines(0.2, 8)(FLAT)[0].astype(float)
    assert lined.mean() == pytest.approx(100, abs=0.5)
    assert (lined.min(), lined.max()) == (80, 120)
    assert np.abs(np.fft.rfft(lined[0] - 100)).argmax() == 128 / 8
    assert not changes.grid_lines(0.2, 8)(np.zeros_like(FLAT)).any()


def test_motion_smears_down_and_not_across():
    point = np.zeros((1, 100, 100), np.uint8)
    point[0, 50, 50] = 250
    smeared = changes.motion(0.05)(point)[0]
    assert np.argwhere(smeared).tolist() == [[row, 50] for row in range(48, 53)]
    assert set(smeared[smeared > 0]) == {50}
    assert np.array_equal(changes.motion(0.05)(FLAT), FLAT)


def test_a_marker_is_white_small_and_in_its_corner():
    marked = changes.marker(0.2)(FLAT)[0]
    rows, columns = np.nonzero(marked != 100)
    assert set(marked[rows, columns]) == {255}
    assert rows.max() - rows.min() + 1 == round(0.2 * 128)
    assert max(rows.max(), columns.max()) < 0.3 * 128


def test_leads_are_white_and_cover_little():
    led = changes.leads(0.02)(FLAT)[0]
    assert set(np.unique(led)) == {100, 255}
    assert 0.01 < (led == 255).mean() < 0.06


@pytest.mark.parametrize(("edge", "turns"), [("left", 0), ("bottom", 1), ("right", 2), ("top", 3)])
def test_shadow_and_haze_lie_over_one_side(edge, turns):
    """They fall off from their edge. Turned so that the edge is the left one."""
    shadow, haze = (np.rot90(kind(0.8, edge)(FLAT)[0], -turns).astype(int) for kind in (changes.shadow, changes.haze))
    assert (shadow[:, 0] == 20).all()
    assert (haze[:, 0] == 224).all()
    assert (np.diff(shadow, axis=1) >= 0).all()
    assert (np.diff(haze, axis=1) <= 0).all()
    assert (shadow[:, 103:] == 100).all()
    assert (haze[:, 103:] == 100).all()
