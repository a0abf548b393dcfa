"""The one way a picture becomes numbers, for training, evaluation and serving alike."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline.errors import ProjectError

DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")


class UnreadablePicture(ProjectError):
    """The bytes are no picture that can be decoded to the end."""


def read_pixels(source: bytes | Path, side: int) -> np.ndarray:
    """Decode a picture and resize it to a square, aspect ratio not kept (as the study did).

    Args:
        source: an encoded picture, or the path of one.
        side: pixels.

    Returns:
        uint8 [side, side], one channel.

    Raises:
        UnreadablePicture: the bytes cannot be decoded.
    """
    name = source.name if isinstance(source, Path) else "upload"
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            # A JPEG decoder halves, quarters or eighths far faster than a resize afterwards; down to twice the side,
            # the resize still does the antialiasing.
            image.draft("L", (2 * side, 2 * side))
            return _square(_grey(ImageOps.exif_transpose(image)), side)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise many kinds, struct.error and SyntaxError among them
        raise UnreadablePicture(f"{name}: cannot be decoded ({type(error).__name__}: {error})") from None


def resize(grey: np.ndarray, side: int) -> np.ndarray:
    """Resize one decoded picture, uint8 [height, width], to uint8 [side, side]: antialiased bilinear."""
    return _square(Image.fromarray(grey), side)


def _grey(image: Image.Image) -> Image.Image:
    """One 8-bit channel.

    Deeper pictures span their own range, since 10, 12 and 16 bit are all stored as 16; alpha lies on black.
    """
    if image.mode in DEEP_MODES:
        values = np.asarray(image, dtype=np.float64)
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
        return Image.fromarray(np.rint(scaled).astype(np.uint8))
    if "A" in image.mode or "transparency" in image.info:
        layers = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layers.size, "black"), layers).convert("L")
    return image.convert("L")


def _square(image: Image.Image, side: int) -> np.ndarray:
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.array(image, dtype=np.uint8)
