"""TIFF files as grey images: Pillow decodes, but is told one plain layout where it reads others wrongly or not at all."""

import io
import sys
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.decoding import tiff_structure
from pipeline.decoding.errors import UnreadableImage, broken
from pipeline.decoding.levels import in_bands
from pipeline.decoding.raster import deep, joined, luminance, shallow
from pipeline.decoding.tiff_structure import (
    BITS,
    COMPRESSION,
    EXTRA_SAMPLES,
    PER_PIECE,
    PHOTOMETRIC,
    PLANAR,
    SAMPLE_FORMAT,
    SAMPLES,
    Directory,
)

UNSIGNED, SIGNED = 1, 2  # sample formats
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR = 0, 1, 2, 6  # photometric interpretations
NOT_GREY = (8, 9, 10)  # colour spaces (CIE L*a*b* and its kin) that Pillow does not turn to grey
WEBP = 50001  # a compression that Pillow's libtiff lacks, and takes for damage
SEPARATE = 2  # planar configuration: one plane after the other
PREMULTIPLIED, ALPHA = 1, 2  # an extra sample that is alpha: colours lie on black already, or do not
NATIVE = "L" if sys.byteorder == "little" else "B"
# libtiff gives numbers in the machine's byte order, and Pillow unpacks some of them in the file's.
NATIVE_MODES = {"I;16S": "I;16NS", "I;16BS": "I;16NS", "I;32S": "I;32NS", "I;32BS": "I;32NS"}
NATIVE_MODES |= {"F;32F": "F;32NF", "F;32BF": "F;32NF"}


def read_tiff(data: bytes, directory: Directory) -> tuple[Image.Image, list[str]]:
    """A TIFF as one 8-bit channel, and warnings.

    Raises:
        UnreadableImage: a layout that is not read, by its name.
    """
    depths, formats = set(directory.numbers(BITS, (1,))), set(directory.numbers(SAMPLE_FORMAT, (UNSIGNED,)))
    if len(depths) > 1 or len(formats) > 1:
        raise UnreadableImage("unsupported_type", "the TIFF has channels of unequal types, which are not read")
    depth, number = depths.pop(), formats.pop()
    samples = directory.number(SAMPLES, 1)
    if PHOTOMETRIC not in directory.entries:
        raise broken("TIFF", "does not say its PhotometricInterpretation: it may be a negative")
    photometric = directory.number(PHOTOMETRIC)
    in_planes = samples > 1 and directory.number(PLANAR, 1) == SEPARATE
    if photometric in NOT_GREY or (photometric == YCBCR and in_planes) or directory.number(COMPRESSION, 1) == WEBP:
        raise _unread(directory)
    mended = depth == 8 and in_planes and photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
    if depth <= 8 and number == UNSIGNED and not mended:
        return shallow(_decoded(tiff_structure.rewrite(directory, {}) if directory.big else data, directory)), []
    values = _grey(directory, depth, number, samples)
    inverted = photometric == WHITE_IS_ZERO
    if values.dtype == np.uint8:
        return Image.fromarray(~values if inverted else values), []
    return deep(values, None, depth if number == UNSIGNED else None, inverted)


def _decoded(data: bytes, directory: Directory, low: bool | None = None) -> Image.Image:
    """What Pillow makes of a TIFF, turned as its orientation says; of 16-bit colour, the high or the `low` bytes.

    Raises:
        UnreadableImage: Pillow does not know the layout of `directory`, whose file this is.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
            image.tile = [tile._replace(args=_raw_mode(tile.codec_name, tile.args, low)) for tile in image.tile]
            image.load()
            return image.copy()
    except (UnidentifiedImageError, SyntaxError, KeyError):
        raise _unread(directory) from None


def _raw_mode(codec: str, arguments: tuple[Any, ...] | str | None, low: bool | None) -> tuple[Any, ...] | str:
    """A tile's arguments, the raw mode mended in front of them."""
    mode, *others = arguments if isinstance(arguments, tuple) else (str(arguments),)
    if codec == "libtiff":
        mode = NATIVE_MODES.get(mode, mode)
    if low and ";16" in mode:  # the high byte of the other byte order is the low one
        order = NATIVE if mode[-1] == "N" else mode[-1]
        mode = mode[:-1] + {"L": "B", "B": "L"}[order]
    return (mode, *others)


def _unread(directory: Directory) -> UnreadableImage:
    numbers = {1: "whole numbers", 2: "signed numbers", 3: "floating point"}.get(directory.number(SAMPLE_FORMAT, 1))
    depths = directory.numbers(BITS, (1,))
    return UnreadableImage(
        "unsupported_type",
        f"the TIFF has {directory.number(SAMPLES, 1)} channel(s) of {depths[0]} bits "
        f"({numbers or 'of another type'}, photometric {directory.number(PHOTOMETRIC)}, compression "
        f"{directory.number(COMPRESSION, 1)}), a layout that is not read",
    )


def _grey(directory: Directory, depth: int, number: int, samples: int) -> np.ndarray:
    """The image as one channel, [height, width] of its own type."""
    if samples == 1:
        return _channel(directory, depth, number, {})
    return in_bands(luminance, _channels(directory, depth, number, samples))


def _channel(directory: Directory, depth: int, number: int, changes: dict[int, tuple[int, ...]]) -> np.ndarray:
    """The numbers of one channel, [height, width] of its own type; `changes` are tags that choose it.

    Pillow inverts min-is-white at some depths and byte orders and knows no others: here it is told min-is-black.
    """
    tags = {PHOTOMETRIC: (BLACK_IS_ZERO,), **changes}
    if (depth, number) == (32, UNSIGNED):
        tags[SAMPLE_FORMAT] = (SIGNED,)  # the same bits, and a type that Pillow knows in both byte orders
    values = np.asarray(_decoded(tiff_structure.rewrite(directory, tags), directory))
    if (depth, number) == (32, UNSIGNED):
        return values.view(np.uint32)
    if (depth, number) == (8, SIGNED):
        return values.view(np.int8)
    if (depth, number) == (16, SIGNED):
        return values.astype(np.int16)  # Pillow widens them, and opaque is the largest number of the file's own type
    return values.astype(values.dtype.newbyteorder("="))


def _channels(directory: Directory, depth: int, number: int, samples: int) -> np.ndarray:
    """The channels of an image of several that count: [height, width, channels]; true alpha, if any, is the last."""
    extra = directory.numbers(EXTRA_SAMPLES)
    alpha = (ALPHA in extra[:1]) or (not extra and samples == 4)
    colours = samples - max(len(extra), int(alpha))
    # Of a negative, what is transparent would turn white.
    negative = directory.number(PHOTOMETRIC) == WHITE_IS_ZERO and (alpha or PREMULTIPLIED in extra[:1])
    if colours not in (1, 3) or negative:
        raise _unread(directory)
    kept = colours + int(alpha)
    if directory.number(PLANAR, 1) == SEPARATE:
        return np.dstack([_plane(directory, depth, number, place, samples) for place in range(kept)])
    if (depth, number, colours) != (16, UNSIGNED, 3) or samples > 4:
        raise _unread(directory)
    # What is premultiplied lies on black already: its alpha may be passed over.
    tags = {EXTRA_SAMPLES: (ALPHA if alpha else 0,)} if samples == 4 else {}
    data = tiff_structure.rewrite(directory, tags)
    return joined(*(np.asarray(_decoded(data, directory, low)) for low in (False, True)))


def _plane(directory: Directory, depth: int, number: int, place: int, samples: int) -> np.ndarray:
    """One plane of an image whose channels are stored one after the other."""
    tags: dict[int, tuple[int, ...]] = {SAMPLES: (1,), BITS: (depth,), SAMPLE_FORMAT: (number,), PLANAR: (1,)}
    tags[EXTRA_SAMPLES] = ()
    for tag in PER_PIECE:
        if pieces := directory.numbers(tag):
            each = len(pieces) // samples
            tags[tag] = pieces[place * each : (place + 1) * each]
    return _channel(directory, depth, number, tags)
