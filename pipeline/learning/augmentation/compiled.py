"""Keras' rotation, zoom and translation with an interpolation that XLA compiles on every backend.

Keras declares its own `supports_jit = False`, and leaves a model with one such layer without XLA. These draw as Keras' do,
from the same seeds, and give the same images within rounding; they take one channel and repeat the nearest pixel at the edges.
"""

from typing import Any

import keras
from keras import ops


def interpolate(images: Any, matrix: Any) -> Any:
    """Bilinear samples of images, float32 [n, h, w, 1], at where an affine map sends each pixel.

    Args:
        images: float32 [n, h, w, 1].
        matrix: float32 [n, 6]; the pixel (x, y) comes from (m0 x + m1 y + m2, m3 x + m4 y + m5).

    Returns:
        float32 [n, h, w, 1].
    """
    _, height, width, _ = images.shape
    x = ops.arange(width, dtype="float32")[None, None, :]
    y = ops.arange(height, dtype="float32")[None, :, None]
    m = ops.transpose(matrix)[:, :, None, None]
    column = ops.clip(m[0] * x + m[1] * y + m[2], 0.0, width - 1.0)
    row = ops.clip(m[3] * x + m[4] * y + m[5], 0.0, height - 1.0)
    left, top = ops.floor(column), ops.floor(row)
    across, down = column - left, row - top
    left, top = ops.cast(left, "int32"), ops.cast(top, "int32")
    right, bottom = ops.minimum(left + 1, width - 1), ops.minimum(top + 1, height - 1)
    flat = ops.reshape(images, (-1, height * width))

    def pixel(rows: Any, columns: Any) -> Any:
        places = ops.reshape(rows * width + columns, (-1, height * width))
        return ops.reshape(ops.take_along_axis(flat, places, axis=1), (-1, height, width))

    above = (1.0 - across) * pixel(top, left) + across * pixel(top, right)
    below = (1.0 - across) * pixel(bottom, left) + across * pixel(bottom, right)
    return ((1.0 - down) * above + down * below)[..., None]


class RandomRotation(keras.layers.RandomRotation):
    """As Keras'."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.supports_jit = True

    def transform_images(self, images, transformation, training=True):
        """float32 [n, h, w, 1] to the same."""
        return interpolate(images, transformation["rotation_matrix"][:, :6]) if training else images


class RandomZoom(keras.layers.RandomZoom):
    """As Keras'."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.supports_jit = True

    def transform_images(self, images, transformation, training=True):
        """float32 [n, h, w, 1] to the same."""
        if not training:
            return images
        _, height, width, _ = images.shape
        across, down = transformation["width_zoom"], transformation["height_zoom"]
        none = ops.zeros_like(across)
        right, below = (width - 1.0) / 2.0 * (1.0 - across), (height - 1.0) / 2.0 * (1.0 - down)
        return interpolate(images, ops.concatenate([across, none, right, none, down, below], axis=1))


class RandomTranslation(keras.layers.RandomTranslation):
    """As Keras'."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.supports_jit = True

    def transform_images(self, images, transformation, training=True):
        """float32 [n, h, w, 1] to the same."""
        if not training:
            return images
        across, down = transformation["translations"][:, :1], transformation["translations"][:, 1:]
        one, none = ops.ones_like(across), ops.zeros_like(across)
        return interpolate(images, ops.concatenate([one, none, -across, none, one, -down], axis=1))
