"""The changes that a network must hold up under. Training, the gate and the report all use this file.

Each change takes and gives uint8 [pictures, side, side]; it is the same for every picture, and draws nothing at random.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

Change = Callable[[np.ndarray], np.ndarray]


def gamma(exponent: float) -> Change:
    """Grey values to a power: below 1 lightens, above 1 darkens."""
    table = np.rint(255.0 * (np.arange(256) / 255.0) ** exponent).astype(np.uint8)
    return lambda pictures: table[pictures]


def contrast(factor: float) -> Change:
    """Distances from each picture's mean, times `factor`."""

    def change(pictures: np.ndarray) -> np.ndarray:
        means = pictures.mean(axis=(1, 2), keepdims=True)
        return _to_uint8(means + factor * (pictures - means))

    return change


def brightness(share: float) -> Change:
    """Add a share of the full range."""
    return lambda pictures: _to_uint8(pictures + 255.0 * share)


def blur(radius: float) -> Change:
    """Gaussian blur; the radius is the standard deviation in pixels."""
    return _each(lambda image: image.filter(ImageFilter.GaussianBlur(radius)))


def stretch(wide: float, high: float) -> Change:
    """Enlarge about the centre by `wide` and `high` (at least 1) and cut back to the frame: another aspect ratio."""

    def change(image: Image.Image) -> Image.Image:
        side = image.width
        across, down = side / wide, side / high
        box = ((side - across) / 2, (side - down) / 2, (side + across) / 2, (side + down) / 2)
        return image.resize((side, side), Image.Resampling.BILINEAR, box=box)

    return _each(change)


def side_bars(share: float) -> Change:
    """Black bars over `share` of the width on the left and on the right."""

    def change(pictures: np.ndarray) -> np.ndarray:
        changed = pictures.copy()
        width = round(pictures.shape[2] * share)
        changed[:, :, :width] = 0
        changed[:, :, pictures.shape[2] - width :] = 0
        return changed

    return change


def jpeg(quality: int) -> Change:
    """Encode as JPEG and decode again."""

    def change(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return _each(change)


def _each(change: Callable[[Image.Image], Image.Image]) -> Change:
    return lambda pictures: np.stack([np.asarray(change(Image.fromarray(picture))) for picture in pictures])


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


CHANGES: dict[str, Change] = {
    "gamma_0.6": gamma(0.6),
    "gamma_1.6": gamma(1.6),
    "contrast_0.6": contrast(0.6),
    "contrast_1.4": contrast(1.4),
    "darker_0.15": brightness(-0.15),
    "brighter_0.15": brightness(0.15),
    "blur_0.8": blur(0.8),
    "wider_1.28": stretch(1.28, 1.0),
    "taller_1.28": stretch(1.0, 1.28),
    "side_bars_0.1": side_bars(0.1),
    "jpeg_40": jpeg(40),
}
