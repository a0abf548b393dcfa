import keras
import numpy as np
import pytest
from keras import ops

from pipeline.learning import augmentation
from pipeline.learning.augmentation import compiled
from pipeline.learning.augmentation.layers import RandomGamma, WholeGreyValues, augmented_copies, build_augmentation

SIDE = 64
RECIPES = [name for name in augmentation.names() if name != "none"]
COPIES = 300


def draw(name, augmenter="keras", image=None):
    keras.utils.set_random_seed(1)
    image = shape() if image is None else image
    batch = ops.cast(np.repeat(image[None, ..., None], COPIES, axis=0), "float32")
    for layer in build_augmentation(name, augmenter):
        batch = layer(batch, training=True)
    return ops.convert_to_numpy(batch)[..., 0]


def shape():
    """A lopsided shape well inside a black frame."""
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[20:44, 24:40] = 150
    image[20:28, 24:30] = 220
    return image


def moments(images):
    """Centre and spread along each axis."""
    grid = np.arange(SIDE)
    mass = images.sum((1, 2))
    across, down = images.sum(1), images.sum(2)
    x, y = (across * grid).sum(1) / mass, (down * grid).sum(1) / mass
    sx = np.sqrt((across * (grid - x[:, None]) ** 2).sum(1) / mass)
    sy = np.sqrt((down * (grid - y[:, None]) ** 2).sum(1) / mass)
    return x, y, sx, sy


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("augmenter", ["keras", "keras_cv"])
def test_nothing_changes_outside_training(name, augmenter):
    batch = np.repeat(shape()[None, ..., None], 4, axis=0).astype("float32")
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1)), *build_augmentation(name, augmenter)])
    assert np.array_equal(model.predict(batch, verbose=0), batch)


def draw_one(kind, name, image):
    """Draws of one layer of a recipe."""
    keras.utils.set_random_seed(1)  # a layer takes its seed when it is built
    (layer,) = (layer for layer in build_augmentation(name) if isinstance(layer, kind))
    batch = ops.cast(np.repeat(image[None, ..., None], COPIES, axis=0), "float32")
    return ops.convert_to_numpy(layer(batch, training=True))[..., 0]


def expect_ends(drawn, low, high):
    """Hundreds of uniform draws come near both ends of their range, and not beyond, but for what pixels round."""
    near = 0.05 * (high - low)
    assert low - near < drawn.min() < low + near
    assert high - near < drawn.max() < high + near


@pytest.mark.parametrize(("name", "zoom"), [("geometric", 0.1), ("robust", 0.25)])
def test_the_zoom_of_each_axis_is_drawn_by_itself_and_reaches_its_ends(name, zoom):
    _, _, sx, sy = moments(draw_one(keras.layers.RandomZoom, name, shape()))
    (_, _, sx0, sy0) = moments(shape()[None])
    # .82 of it where both are drawn by themselves, 0 where they are one; the draws are seeded
    assert np.std((sx / sx0) / (sy / sy0)) > 0.8 * zoom
    for drawn in (sx / sx0, sy / sy0):
        expect_ends(1 / drawn - 1, -zoom, zoom)


def test_gamma_contrast_and_brightness_of_the_robust_recipe_reach_their_ends():
    halves = np.full((SIDE, SIDE), 100, np.uint8)
    halves[:, SIDE // 2 :] = 150
    darkened = draw_one(RandomGamma, "robust", halves)[:, 0, 0]
    expect_ends(np.log(np.log(darkened / 255) / np.log(100 / 255)), -0.5, 0.5)
    drawn = draw_one(keras.layers.RandomContrast, "robust", halves)
    expect_ends((drawn[:, 0, -1] - drawn[:, 0, 0]) / 50, 0.6, 1.4)
    expect_ends(draw_one(keras.layers.RandomBrightness, "robust", halves)[:, 0, 0] - 100, -51, 51)


def test_shifts_stay_within_a_tenth():
    x, y, _, _ = moments(draw("geometric"))
    x0, y0, _, _ = moments(shape()[None])
    for moved in (x - x0, y - y0):
        assert 0.05 * SIDE < np.abs(moved).max() < 0.15 * SIDE  # a tenth, and what rotation and zoom add off the centre


def test_edges_are_filled_with_the_nearest_pixel():
    assert draw("geometric", image=np.full((SIDE, SIDE), 90, np.uint8)).min() > 89.9


def test_a_image_is_never_flipped():
    """The brightest corner stays upper left: rotation within ten degrees cannot take it elsewhere."""
    for image in draw("robust"):
        rows, columns = np.nonzero(image > 0.97 * image.max())
        inside = np.argwhere(image > image.mean() + 0.3 * (image.max() - image.mean()))
        assert columns.mean() < inside[:, 1].mean() + 1
        assert rows.mean() < inside[:, 0].mean() + 1


@pytest.mark.parametrize("name", RECIPES)
def test_keras_cv_draws_from_the_same_ranges(name):
    for mine, theirs in zip(moments(draw(name)), moments(draw(name, "keras_cv")), strict=True):
        spread = mine.std()
        assert abs(mine.mean() - theirs.mean()) < 0.35 * spread
        assert 0.75 < theirs.std() / spread < 1.33
        assert abs(mine.min() - theirs.min()) < spread
        assert abs(mine.max() - theirs.max()) < spread


@pytest.mark.parametrize("augmenter", ["keras", "keras_cv"])
def test_grey_values_change_within_their_ranges(augmenter):
    """On an image of two flat halves, shifts and zooms change nothing in the corners: only grey values do."""
    halves = np.full((SIDE, SIDE), 100, np.uint8)
    halves[:, SIDE // 2 :] = 150
    drawn = draw("robust", augmenter, halves)
    left, right = drawn[:, SIDE // 2, 2], drawn[:, SIDE // 2, -3]
    contrast = (right - left) / 50
    assert contrast.min() < 0.75
    assert 1.25 < contrast.max() < 2.2  # contrast to 1.4, and what gamma adds
    middle = (left + right) / 2 - 125
    assert middle.min() < -50
    assert middle.max() > 50


def test_a_network_sees_whole_grey_values():
    values = np.array([-3.0, 0.4, 0.6, 254.6, 300.0], "float32")
    assert ops.convert_to_numpy(WholeGreyValues()(values)).tolist() == [0, 0, 1, 255, 255]


def test_copies_to_look_at_are_repeatable():
    copies = augmented_copies(shape(), 5)
    assert copies.shape == (5, SIDE, SIDE)
    assert copies.dtype == np.uint8
    assert np.array_equal(copies, augmented_copies(shape(), 5))


@pytest.mark.parametrize("kind", ["RandomRotation", "RandomZoom", "RandomTranslation"])
def test_the_compilable_layers_draw_and_move_as_those_of_keras(kind):
    """Same seed, same image, within rounding of grey values in 0 to 255; the lopsided shape would show a swapped axis."""
    factors = (0.1,) if kind == "RandomRotation" else (0.2, 0.1)
    batch = ops.cast(np.repeat(shape()[None, ..., None], 20, axis=0), "float32")
    moved = []
    for kinds in (keras.layers, compiled):
        layer = getattr(kinds, kind)(*factors, seed=3, fill_mode="nearest", dtype="float32")
        moved.append(ops.convert_to_numpy(layer(batch, training=True)))
    assert np.abs(moved[0] - ops.convert_to_numpy(batch)).max() > 50
    assert np.abs(moved[0] - moved[1]).max() < 0.01
    assert layer.supports_jit


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_compilable_layers_gives_the_same_images(name):
    batches = []
    for choice in (False, True):
        keras.utils.set_random_seed(1)
        batch = ops.cast(np.repeat(shape()[None, ..., None], 20, axis=0), "float32")
        for layer in build_augmentation(name, compiled=choice):
            batch = layer(batch, training=True)
        batches.append(ops.convert_to_numpy(batch))
    assert np.abs(batches[0] - batches[1]).max() < 0.05
