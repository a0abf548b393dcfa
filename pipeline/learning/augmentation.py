"""Augmentation recipes as layers: on the device, inside the training graph, never in `predict`, never a flip.

The geometric recipe is the study's: rotation within 10 degrees, zoom of each axis drawn by itself within 0.9 to 1.1, shifts
within a tenth, edges filled with the nearest pixel. The robust recipe widens the zoom and changes the grey values, so that
a picture's stretch and exposure stop giving the class away.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

GREY_RANGE = (0.0, 255.0)


@dataclass(frozen=True)
class Recipe:
    """Ranges: turns, shares of the side, and grey values. Zero switches a change off."""

    rotation: float = 10 / 360
    zoom: float = 0.1
    shift: float = 0.1
    log_gamma: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0


RECIPES = {
    "geometric": Recipe(),
    "robust": Recipe(zoom=0.25, log_gamma=0.5, contrast=0.4, brightness=0.2),
}


class RandomGamma(keras.layers.Layer):
    """Grey values in 0 to 255 to the power exp(u), u uniform within plus or minus `log_gamma`, one draw a picture."""

    def __init__(self, log_gamma: float, **kwargs):
        super().__init__(**kwargs)
        self.log_gamma = log_gamma
        self.generator = keras.random.SeedGenerator()

    def call(self, pictures, training=False):
        """float [n, h, w, c] to the same."""
        if not training:
            return pictures
        shape = (ops.shape(pictures)[0], 1, 1, 1)
        drawn = keras.random.uniform(shape, -self.log_gamma, self.log_gamma, seed=self.generator, dtype=pictures.dtype)
        share = ops.clip(
            pictures / GREY_RANGE[1], 1e-6, 1.0
        )  # the gradient of 0 ** x is not wanted here, nor is log(0)
        return GREY_RANGE[1] * ops.exp(ops.exp(drawn) * ops.log(share))


class OnlyInTraining(keras.layers.Layer):
    """keras-cv's random layers ignore `training` and would augment in `predict` too."""

    def __init__(self, layer: keras.layers.Layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, pictures, training=False):
        """float [n, h, w, c] to the same."""
        return self.layer(pictures, training=True) if training else pictures


class WholeGreyValues(keras.layers.Layer):
    """Back to 8 bits: a network sees whole grey values while it learns, as it does when it serves."""

    def call(self, pictures):
        """float [n, h, w, c] to uint8."""
        return ops.cast(ops.round(ops.clip(pictures, *GREY_RANGE)), "uint8")


def build_augmentation(name: str, augmenter: str = "keras") -> list[keras.layers.Layer]:
    """The layers of a recipe, in order, from float [n, h, w, 1] in 0 to 255; an empty list for `none`.

    Args:
        name: none, geometric or robust.
        augmenter: keras (the default, on every backend), or keras_cv (TensorFlow only).
    """
    if name == "none":
        return []
    recipe = RECIPES[name]
    return _keras_cv_layers(recipe) if augmenter == "keras_cv" else _keras_layers(recipe)


def augmented_copies(picture: np.ndarray, copies: int, name: str = "geometric", seed: int = 0) -> np.ndarray:
    """Random draws of a recipe on one picture, to look at: uint8 [side, side] to uint8 [copies, side, side]."""
    keras.utils.set_random_seed(seed)
    batch = ops.cast(np.repeat(picture[None, ..., None], copies, axis=0), "float32")
    for layer in build_augmentation(name):
        batch = layer(batch, training=True)
    return ops.convert_to_numpy(WholeGreyValues()(batch))[..., 0]


def _keras_layers(recipe: Recipe) -> list[keras.layers.Layer]:
    # float32 whatever the precision: positions and grey values do not fit bfloat16.
    fill = {"fill_mode": "nearest", "dtype": "float32"}
    layers = [
        keras.layers.RandomRotation(recipe.rotation, **fill),
        keras.layers.RandomZoom(recipe.zoom, recipe.zoom, **fill),
        keras.layers.RandomTranslation(recipe.shift, recipe.shift, **fill),
    ]
    if recipe.log_gamma:
        layers.append(RandomGamma(recipe.log_gamma, dtype="float32"))
    if recipe.contrast:
        # A single number would only ever raise the contrast: 1 to 1 + factor.
        both = (recipe.contrast, recipe.contrast)
        layers.append(keras.layers.RandomContrast(both, value_range=GREY_RANGE, dtype="float32"))
    if recipe.brightness:
        layers.append(keras.layers.RandomBrightness(recipe.brightness, value_range=GREY_RANGE, dtype="float32"))
    return layers


def _keras_cv_layers(recipe: Recipe) -> list[keras.layers.Layer]:
    from keras_cv import layers as cv  # 14 s, and TensorFlow alone

    layers = [
        cv.RandomRotation(recipe.rotation, fill_mode="nearest"),
        cv.RandomZoom((-recipe.zoom, recipe.zoom), (-recipe.zoom, recipe.zoom), fill_mode="nearest"),
        cv.RandomTranslation(recipe.shift, recipe.shift, fill_mode="nearest"),
    ]
    if recipe.contrast:
        layers.append(cv.RandomContrast(value_range=GREY_RANGE, factor=recipe.contrast))
    if recipe.brightness:
        layers.append(cv.RandomBrightness(factor=(-recipe.brightness, recipe.brightness), value_range=GREY_RANGE))
    wrapped: list[keras.layers.Layer] = [OnlyInTraining(layer) for layer in layers]
    if recipe.log_gamma:
        wrapped.insert(3, RandomGamma(recipe.log_gamma, dtype="float32"))
    return wrapped
