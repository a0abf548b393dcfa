"""keras-cv in the place of keras.layers (`train.common.augmenter: keras_cv`): the only module that imports it."""

import keras
from keras_cv import layers as cv

from pipeline.learning.augmentation import Ranges
from pipeline.learning.augmentation.layers import GREY_RANGE, RandomGamma


class OnlyInTraining(keras.layers.Layer):
    """keras-cv's random layers ignore `training` and would augment in `predict` too."""

    def __init__(self, layer: keras.layers.Layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, images, training=False):
        """float [n, h, w, c] to the same."""
        return self.layer(images, training=True) if training else images


def range_layers(ranges: Ranges) -> list[keras.layers.Layer]:
    """keras-cv's layers of these ranges; it has no gamma that takes a range, so that one is ours."""
    layers = [
        cv.RandomRotation(ranges.rotation, fill_mode="nearest"),
        cv.RandomZoom((-ranges.zoom, ranges.zoom), (-ranges.zoom, ranges.zoom), fill_mode="nearest"),
        cv.RandomTranslation(ranges.shift, ranges.shift, fill_mode="nearest"),
    ]
    if ranges.contrast:
        layers.append(cv.RandomContrast(value_range=GREY_RANGE, factor=ranges.contrast))
    if ranges.brightness:
        layers.append(cv.RandomBrightness(factor=(-ranges.brightness, ranges.brightness), value_range=GREY_RANGE))
    wrapped: list[keras.layers.Layer] = [OnlyInTraining(layer) for layer in layers]
    if ranges.log_gamma:
        wrapped.insert(3, RandomGamma(ranges.log_gamma, dtype="float32"))
    return wrapped
