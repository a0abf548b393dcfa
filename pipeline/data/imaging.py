"""The one way an image becomes numbers, for training, evaluation and serving alike."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipeline.decoding import tones
from pipeline.decoding.errors import UnreadableImage
from pipeline.decoding.limits import Limits
from pipeline.decoding.reader import decode


class GreyImage(NamedTuple):
    """Pixels uint8 [side, side], and what should be said about where they come from."""

    pixels: np.ndarray
    warnings: list[str]


def read_pixels(source: bytes | Path, side: int) -> np.ndarray:
    """Decode an image of one's own and resize it to a square, aspect ratio not kept (as the study did).

    Args:
        source: an encoded image, or the path of one.
        side: pixels.

    Returns:
        uint8 [side, side], one channel.

    Raises:
        UnreadableImage: the bytes cannot be decoded.
    """
    if isinstance(source, bytes):
        return square(decode(source, side).image, side)
    try:
        return square(decode(source.read_bytes(), side).image, side)
    except UnreadableImage as refusal:
        raise UnreadableImage(refusal.error, f"{source.name}: {refusal.detail}", **refusal.facts) from None


def read_upload(data: bytes, side: int, limits: Limits) -> GreyImage:
    """Decode a file that may be hostile, to the same pixels, and say what is odd about it.

    Raises:
        UnreadableImage: a type that is not read, more than the limits allow, or broken.
    """
    decoded = decode(data, side, limits)
    pixels = square(decoded.image, side)
    return GreyImage(pixels, [*decoded.warnings, *tones.warnings(pixels)])


def resize(grey: np.ndarray, side: int) -> np.ndarray:
    """Resize one decoded image, uint8 [height, width], to uint8 [side, side]: antialiased bilinear."""
    return square(Image.fromarray(grey), side)


def square(image: Image.Image, side: int) -> np.ndarray:
    """Resize one 8-bit channel to uint8 [side, side]: antialiased bilinear."""
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.array(image, dtype=np.uint8)
