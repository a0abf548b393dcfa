"""JPEG and PNG files as grey images, through Pillow; what Pillow would cut to 8 bits is read in full."""

import io
import warnings as python_warnings

import numpy as np
from PIL import Image, ImageOps

from pipeline.decoding import grey_range, levels, png_structure
from pipeline.decoding.png_structure import Header

python_warnings.filterwarnings("ignore", module="PIL")  # what it says of odd values may quote them
Image.MAX_IMAGE_PIXELS = None  # the limits are ours, and answered with numbers
# Integer weights of red, green and blue in luminance (ITU-R BT.601), as Pillow has them for 8 bits.
RED, GREEN, BLUE = 19595, 38470, 7471
DEEP = 16  # bits of a channel


def read_jpeg(data: bytes, side: int | None) -> Image.Image:
    """A JPEG as one 8-bit channel, turned as EXIF says; with `side`, at least twice as large as that, not more."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        if side:
            # A JPEG decoder halves, quarters or eighths far faster than a resize afterwards; down to twice the side,
            # the resize still does the antialiasing.
            image.draft("L", (2 * side, 2 * side))
        ImageOps.exif_transpose(image, in_place=True)  # without a copy where nothing is to be turned
        return shallow(image)


def read_png(data: bytes, header: Header) -> tuple[Image.Image, list[str]]:
    """A PNG of any depth as one 8-bit channel, and warnings."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        hidden = image.info.get("transparency")
        if header.depth < DEEP:
            if isinstance(hidden, int) and 1 < header.depth < 8 and header.colour == 0:
                # The hidden value is a sample's as stored; Pillow compares it with the sample stretched to 8 bits.
                image.info["transparency"] = hidden % 2**header.depth * 255 // (2**header.depth - 1)
            return shallow(ImageOps.exif_transpose(image)), []
        if png_structure.CHANNELS[header.colour] == 1:
            grey = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)
            return deep(grey, grey == hidden if isinstance(hidden, int) else None, depth=DEEP)
    high, low = _png_bytes(data, header)
    blank = None
    if isinstance(hidden, tuple):
        blank = levels.in_bands(lambda *parts: (joined(*parts) == np.array(hidden)).all(-1), high, low)
    return deep(levels.in_bands(lambda *parts: luminance(joined(*parts)), high, low), blank, depth=DEEP)


def _png_bytes(data: bytes, header: Header) -> tuple[np.ndarray, np.ndarray]:
    """High and low bytes of a 16-bit PNG of colours, or of grey and alpha: uint8 [height, width, channels] each."""
    if png_structure.CHANNELS[header.colour] == 2:  # as bytes, a pixel of grey and alpha looks like one of RGBA
        parts = _decoded(data, "PNG", "RGBA")
        return parts[..., ::2], parts[..., 1::2]
    mode = "RGB" if png_structure.CHANNELS[header.colour] == 3 else "RGBA"
    return _decoded(data, "PNG", f"{mode};16B"), _decoded(data, "PNG", f"{mode};16L")


def _decoded(data: bytes, kind: str, raw_mode: str) -> np.ndarray:
    """A file as Pillow unpacks it under another raw mode: `RGB;16B` gives each channel's first byte, `RGB;16L` its second."""
    with Image.open(io.BytesIO(data), formats=[kind]) as image:
        image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
        return np.asarray(ImageOps.exif_transpose(image))


def joined(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Numbers of 16 bits from their bytes."""
    return high.astype(np.uint16) << 8 | low


def luminance(channels: np.ndarray) -> np.ndarray:
    """Grey [height, width] of red, green and blue, or of grey, with or without alpha last; alpha lies on black."""
    count = channels.shape[-1]
    grey = channels[..., 0]
    if count >= 3 and channels.dtype in (np.uint8, np.uint16):
        wide = channels.astype(np.uint32)
        total = wide[..., 0] * RED + wide[..., 1] * GREEN + wide[..., 2] * BLUE
        grey = ((total + (1 << 15)) >> 16).astype(channels.dtype)
    elif count >= 3:
        grey = (channels[..., :3] * (np.array([RED, GREEN, BLUE]) / (1 << 16))).sum(-1)
    if count in (2, 4):
        opaque = np.iinfo(channels.dtype).max if channels.dtype.kind in "iu" else 1.0
        shown = grey * (channels[..., -1] / opaque)
        grey = shown if channels.dtype.kind == "f" else np.rint(shown).astype(channels.dtype)
    return grey


def shallow(image: Image.Image) -> Image.Image:
    """One 8-bit channel of an image of at most 8 bits a channel; alpha lies on black."""
    if image.mode == "La":
        image = image.convert("LA")
    if "A" in image.mode or "transparency" in image.info:
        layers = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layers.size, "black"), layers).convert("L")
    return image if image.mode == "L" else image.convert("L")


def deep(
    values: np.ndarray, blank: np.ndarray | None, depth: int | None, inverted: bool = False
) -> tuple[Image.Image, list[str]]:
    """One 8-bit channel of values of any type [height, width], and warnings; arguments as for `grey_range.to_grey`."""
    warnings = []
    if values.dtype.kind == "f" and not (real := np.isfinite(values)).all():
        warnings.append(f"pixels without a finite number, which were left out: {int(values.size - real.sum())}")
    grey, more = grey_range.to_grey(levels.of_any(values, blank), inverted, depth)
    return Image.fromarray(grey), warnings + more
