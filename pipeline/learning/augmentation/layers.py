"""The layers of a recipe: on the device, inside the training graph, never in `predict`. Edges repeat the nearest pixel."""

import keras
import numpy as np
from keras import ops

from pipeline.learning import augmentation
from pipeline.learning.augmentation import Ranges

GREY_RANGE = (0.0, 255.0)


class RandomGamma(keras.layers.Layer):
    """Grey values in 0 to 255 to the power exp(u), u uniform within plus or minus `log_gamma`, one draw an image."""

    def __init__(self, log_gamma: float, **kwargs):
        super().__init__(**kwargs)
        self.log_gamma = log_gamma
        self.generator = keras.random.SeedGenerator()

    def call(self, images, training=False):
        """float [n, h, w, c] to the same."""
        if not training:
            return images
        shape = (ops.shape(images)[0], 1, 1, 1)
        drawn = keras.random.uniform(shape, -self.log_gamma, self.log_gamma, seed=self.generator, dtype=images.dtype)
        # Neither the gradient of 0 ** x is wanted here, nor log(0).
        share = ops.clip(images / GREY_RANGE[1], 1e-6, 1.0)
        return GREY_RANGE[1] * ops.exp(ops.exp(drawn) * ops.log(share))


class WholeGreyValues(keras.layers.Layer):
    """Back to 8 bits: a network sees whole grey values while it learns, as it does when it serves."""

    def call(self, images):
        """float [n, h, w, c] to uint8."""
        return ops.cast(ops.round(ops.clip(images, *GREY_RANGE)), "uint8")


def build_augmentation(name: str, augmenter: str = "keras", compiled: bool = False) -> list[keras.layers.Layer]:
    """The layers of a recipe, in order, from float [n, h, w, 1] in 0 to 255; an empty list for `none`.

    Args:
        name: one of `augmentation.names()`.
        augmenter: keras (the default, on every backend), or keras_cv (TensorFlow only).
        compiled: layers that XLA can compile; equal to those of Keras within rounding.

    Raises:
        ProjectError: there is no such recipe.
    """
    recipe = augmentation.get(name)
    further = recipe.further_layers() if hasattr(recipe, "further_layers") else []
    if recipe.RANGES is None:
        return further
    if augmenter == "keras_cv":
        from pipeline.learning.augmentation.keras_cv_adapter import range_layers  # 14 s, and TensorFlow alone

        return [*range_layers(recipe.RANGES), *further]
    return [*_range_layers(recipe.RANGES, compiled), *further]


def augmented_copies(image: np.ndarray, copies: int, name: str = "geometric", seed: int = 0) -> np.ndarray:
    """Random draws of a recipe on one image, to look at: uint8 [side, side] to uint8 [copies, side, side]."""
    keras.utils.set_random_seed(seed)
    batch = ops.cast(np.repeat(image[None, ..., None], copies, axis=0), "float32")
    for layer in build_augmentation(name):
        batch = layer(batch, training=True)
    return ops.convert_to_numpy(WholeGreyValues()(batch))[..., 0]


def _range_layers(ranges: Ranges, compiled: bool) -> list[keras.layers.Layer]:
    from pipeline.learning.augmentation import compiled as compilable

    kinds = compilable if compiled else keras.layers
    # float32 whatever the precision: positions and grey values do not fit bfloat16.
    fill = {"fill_mode": "nearest", "dtype": "float32"}
    layers = [
        kinds.RandomRotation(ranges.rotation, **fill),
        kinds.RandomZoom(ranges.zoom, ranges.zoom, **fill),
        kinds.RandomTranslation(ranges.shift, ranges.shift, **fill),
    ]
    if ranges.log_gamma:
        layers.append(RandomGamma(ranges.log_gamma, dtype="float32"))
    if ranges.contrast:
        # A single number would only ever raise the contrast: 1 to 1 + factor.
        both = (ranges.contrast, ranges.contrast)
        layers.append(keras.layers.RandomContrast(both, value_range=GREY_RANGE, dtype="float32"))
    if ranges.brightness:
        layers.append(keras.layers.RandomBrightness(ranges.brightness, value_range=GREY_RANGE, dtype="float32"))
    return layers
