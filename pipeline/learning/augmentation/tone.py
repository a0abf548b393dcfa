"""The robust recipe, then random tone curves and collimation bars: as films differ between machines, not between lungs.

A tone curve is monotone: partial histogram equalisation, or the histogram of another image of the batch in part, and a veil
of scattered radiation that takes contrast away. Keras is imported where it is used: what a recipe declares is known without it.
"""

from typing import TYPE_CHECKING, Any

from pipeline.learning.augmentation import Ranges

if TYPE_CHECKING:
    import keras

KINDS = frozenset({"geometry", "tone", "collimation"})
RANGES = Ranges(rotation=10 / 360, zoom=0.25, shift=0.1, log_gamma=0.5, contrast=0.4, brightness=0.2)

WHITE = 255.0
STEPS = 64  # pieces of a tone curve
EVEN = 0.01  # of a histogram
SAMPLED = 32  # rows and columns of the pixels that a histogram is taken from, at least
EQUALISED = 0.3  # of the images, by a share up to 1
MATCHED = 0.3  # of the images, by a share up to 1
VEILED = 0.5  # of the images
VEIL = 0.5  # of the contrast, at most
BARRED = 0.4  # of each image's sides, each by itself
BAR = 0.15  # of the side, at most


def further_layers() -> "list[keras.layers.Layer]":
    """The tone curve and the bars, which come after the robust recipe's layers."""
    import keras

    class OnlyInTraining(keras.layers.Layer):
        """A change of float32 [n, h, w, 1] that draws from a generator of its own; nothing outside training."""

        def __init__(self, change, **kwargs):
            super().__init__(dtype="float32", **kwargs)
            self.change = change
            self.generator = keras.random.SeedGenerator()

        def call(self, images, training=False):
            return self.change(images, self.generator) if training else images

    return [OnlyInTraining(tone_curve, name="tone_curve"), OnlyInTraining(collimate, name="collimate")]


def tone_curve(images: Any, generator: "keras.random.SeedGenerator") -> Any:
    """A random monotone curve an image, then a random veil: float32 [n, h, w, 1] in 0 to 255 to the same."""
    from keras import ops, random

    choice, share, veiled, strength, grey = ops.split(
        random.uniform((ops.shape(images)[0], 5), seed=generator), 5, axis=1
    )
    shares = cumulative_shares(images)
    target = ops.where(choice < EQUALISED, equalised(shares), matched(shares, ops.roll(shares, 1, axis=0)))
    part = ops.where(choice < EQUALISED + MATCHED, share, 0.0)
    toned = apply_curve(images, (1.0 - part) * _levels() + part * target)
    return veil(toned, ops.where(veiled < VEILED, VEIL * strength, 0.0), grey)


def collimate(images: Any, generator: "keras.random.SeedGenerator") -> Any:
    """Black bars along random sides of each image: float32 [n, h, w, 1] to the same."""
    from keras import ops, random

    count, (height, width) = ops.shape(images)[0], images.shape[1:3]
    present, drawn = ops.split(random.uniform((count, 8), seed=generator), 2, axis=1)
    bars = ops.where(present < BARRED, BAR * drawn, 0.0)[:, :, None, None, None]
    rows = ((ops.arange(height, dtype="float32") + 0.5) / height)[:, None, None]
    columns = ((ops.arange(width, dtype="float32") + 0.5) / width)[None, :, None]
    above, below, left, right = (bars[:, side] for side in range(4))
    inside = (rows > above) & (rows < 1.0 - below) & (columns > left) & (columns < 1.0 - right)
    return ops.where(inside, images, 0.0)


def cumulative_shares(images: Any) -> Any:
    """The share of an image's pixels that are no brighter than each level, black ones (outside the film) left out.

    A little of an even distribution is mixed in: without it the curve of `matched` is undefined between grey values that
    an image has.

    Args:
        images: float32 [n, h, w, 1]; a regular sample of the pixels is enough.

    Returns:
        float32 [n, STEPS + 1], rising from 0 to 1 (of an image that is black everywhere, to `EVEN`).
    """
    from keras import ops

    step = max(1, min(images.shape[1:3]) // SAMPLED)
    sampled = images[:, ::step, ::step, 0]
    pixels = ops.reshape(sampled, (-1, 1, sampled.shape[1] * sampled.shape[2]))
    counted = ops.mean(ops.cast(pixels <= _levels()[None, :, None], "float32"), axis=2)
    black = counted[:, :1]
    shares = (counted - black) / ops.maximum(1.0 - black, 1e-6)
    return (1.0 - EVEN) * shares + EVEN * _levels() / WHITE


def equalised(shares: Any) -> Any:
    """The curve after which every grey value is as frequent: float32 [n, STEPS + 1], one value a level."""
    return WHITE * shares


def matched(shares: Any, others: Any) -> Any:
    """The curve after which an image has another's histogram: the other's quantiles at the shares of each level."""
    from keras import ops

    above = ops.sum(ops.cast(others[:, None, :] < shares[:, :, None], "int32"), axis=2)
    above = ops.minimum(above, STEPS)  # where the other is black everywhere
    below = ops.maximum(above - 1, 0)
    low, high = ops.take_along_axis(others, below, axis=1), ops.take_along_axis(others, above, axis=1)
    between = ops.clip((shares - low) / ops.maximum(high - low, 1e-6), 0.0, 1.0)
    return (WHITE / STEPS) * ops.where(above > 0, ops.cast(below, "float32") + between, 0.0)


def apply_curve(images: Any, curve: Any) -> Any:
    """Send each grey value through its image's curve, linear between levels: float32 [n, h, w, 1] to the same."""
    from keras import ops

    place = ops.reshape(ops.clip(images, 0.0, WHITE), (-1, images.shape[1] * images.shape[2])) * (STEPS / WHITE)
    below = ops.minimum(ops.cast(place, "int32"), STEPS - 1)
    low, high = ops.take_along_axis(curve, below, axis=1), ops.take_along_axis(curve, below + 1, axis=1)
    return ops.reshape(low + (place - ops.cast(below, "float32")) * (high - low), (-1, *images.shape[1:]))


def veil(images: Any, strength: Any, grey: Any) -> Any:
    """Scattered radiation: mix in a grey, which takes `strength` of the contrast away.

    Args:
        images: float32 [n, h, w, 1].
        strength: float32 [n, 1].
        grey: float32 [n, 1], 0 for the image's mean, where only contrast is lost, to 1 for white.
    """
    from keras import ops

    strength, grey = strength[:, :, None, None], grey[:, :, None, None]
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    return images + strength * (mean + grey * (WHITE - mean) - images)


def _levels() -> Any:
    from keras import ops

    return ops.arange(STEPS + 1, dtype="float32") * (WHITE / STEPS)
