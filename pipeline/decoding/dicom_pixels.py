"""Stored values of a DICOM image: decoded, cut to the bits that are image, their sign restored, their padding found."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from pipeline.decoding.dicom_codestream import NATIVE, Samples, check_codestream, check_length, check_runs, true_syntax
from pipeline.decoding.dicom_values import integer, is_given, numbers
from pipeline.decoding.errors import UnreadableImage, broken
from pipeline.decoding.levels import BAND
from pipeline.decoding.limits import Limits

LOSSY = (JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K)
OVERSHOOT = 1 / 16  # of the range of the stored bits, by which lossy compression may leave it


@dataclass(frozen=True)
class Stored:
    """Values of whole numbers [height, width], where padding lies (bool [height, width] or None), and warnings."""

    values: np.ndarray
    padding: np.ndarray | None
    warnings: list[str]


def read(data: Dataset, syntax: UID | None, limits: Limits) -> Stored:
    """Decode the first frame of a data set whose header has been checked.

    Raises:
        UnreadableImage: the pixel data are not what the header promises, or cannot be decoded.
    """
    syntax = true_syntax(data, syntax)
    samples = Samples()
    if syntax in NATIVE:
        check_length(data)
    elif syntax == RLELossless:
        check_runs(data)
    else:
        samples = check_codestream(data, syntax, limits)
    plugin = _plugin(syntax, samples.bits)
    allocated = integer(data, "BitsAllocated")
    decoded = 8 if plugin == "pillow" else allocated  # Pillow gives bytes, whatever room the header has for them
    try:
        raw, _ = get_decoder(syntax).as_array(data.PixelData, index=0, decoding_plugin=plugin, **_layout(data, decoded))
    except Exception:  # noqa: BLE001 - a decoder that meets hostile bytes may raise anything
        raise UnreadableImage(
            "undecodable", f"the DICOM file's pixel data cannot be decoded as what it says they are ({syntax.name})"
        ) from None
    if raw.ndim != 2 or not raw.size:
        raise broken("DICOM", "holds no flat image")
    kind = np.dtype(f"{raw.dtype.kind}{allocated // 8}")
    return _interpret(data, raw.astype(kind, copy=False), samples, syntax in LOSSY)


def _plugin(syntax: UID, precision: int) -> str:
    """The decoder, where pydicom's own choice would be another one here than there, or read other grey values."""
    if syntax in JPEGLSTransferSyntaxes:
        return "pylibjpeg"  # pydicom prefers pyjpegls, which the service does not have
    if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) and precision == 8:
        return "pillow"  # libjpeg's grey values differ by one from those that the same JPEG has outside DICOM
    return ""


def _layout(data: Dataset, allocated: int) -> dict[str, Any]:
    """What pydicom must know of the pixels, told without the gaps and the spelling of the header; it shall mend nothing."""
    return {
        "raw": True,
        "apply_j2k_sign_correction": False,
        "apply_jls_sign_correction": False,
        "correct_unused_bits": False,
        "rows": integer(data, "Rows"),
        "columns": integer(data, "Columns"),
        "samples_per_pixel": 1,
        "number_of_frames": max(1, integer(data, "NumberOfFrames", 1)),
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": allocated,
        "bits_stored": min(max(1, integer(data, "BitsStored", allocated)), allocated),
        "pixel_representation": int(integer(data, "PixelRepresentation", 0) == 1),
        "pixel_keyword": "PixelData",
        "pixel_vr": data["PixelData"].VR,
    }


def _interpret(data: Dataset, raw: np.ndarray, samples: Samples, lossy: bool) -> Stored:
    """Cut decoded values to BitsStored, whatever their transfer syntax: the bits above may hold an overlay (PS3.5, 8.1)."""
    allocated = raw.dtype.itemsize * 8
    stored = integer(data, "BitsStored", allocated)
    high = integer(data, "HighBit", stored - 1)
    shift = high + 1 - stored if stored <= high + 1 <= allocated and (not samples.bits or samples.bits > high) else 0
    signed = integer(data, "PixelRepresentation", 0) == 1
    pattern = raw.view(np.uint8 if allocated == 8 else np.uint16)
    warnings: list[str] = []
    if samples.signed not in (None, signed) and _is_torn(
        *(_cut(pattern, stored, shift, sign) for sign in (signed, not signed))
    ):
        signed = not signed
        warnings.append("PixelRepresentation is not that of the compressed image, whose sign was read")
    everything = _cut(pattern, allocated - shift, shift, signed)
    values = _cut(pattern, stored, shift, signed)
    if lossy and not shift and _overshoots(everything, stored, signed):
        values = np.clip(everything, *_range(stored, signed))
    elif stored + shift < allocated and _is_torn(values, everything):
        values = everything
        warnings.append(f"the values need more than the {stored} bits of BitsStored; all bits were read")
    padding = _padding(data, values, everything, signed)
    if padding is not None and padding.all():
        padding = None
        warnings.append("PixelPaddingValue names every pixel and was ignored")
    return Stored(values, padding, warnings)


def _cut(pattern: np.ndarray, stored: int, shift: int, signed: bool) -> np.ndarray:
    """`stored` bits of each pattern, from bit `shift` on, as whole numbers of the same width."""
    allocated = pattern.dtype.itemsize * 8
    if stored == allocated:
        return pattern.view(f"i{pattern.dtype.itemsize}") if signed else pattern
    at_top = np.left_shift(pattern, allocated - stored - shift)
    at_top = at_top.view(f"i{pattern.dtype.itemsize}") if signed else at_top
    return np.right_shift(at_top, allocated - stored)


def _range(stored: int, signed: bool) -> tuple[int, int]:
    """The smallest and the largest number of so many bits."""
    return (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)


def _overshoots(everything: np.ndarray, stored: int, signed: bool) -> bool:
    """Whether values leave the range of their bits by as little as lossy compression makes them; an overlay adds more."""
    low, high = _range(stored, signed)
    margin = OVERSHOOT * (high - low)
    smallest, largest = int(everything.min()), int(everything.max())
    return (smallest < low or largest > high) and low - margin <= smallest and largest <= high + margin


def _is_torn(values: np.ndarray, other: np.ndarray) -> bool:
    """Whether another reading of the same bits is the image: this one jumps where that one is smooth.

    An overlay in the bits above adds edges; a BitsStored that is too small takes the image's upper half away, and a wrong sign
    turns dark pixels white.
    """
    if np.array_equal(values, other):
        return False
    return _roughness(other) < 0.9 * _roughness(values)


def _roughness(values: np.ndarray) -> float:
    """The sum of all steps from a pixel to its right neighbour."""
    bands = (values[start : start + BAND].astype(np.int32) for start in range(0, len(values), BAND))
    return float(sum(np.abs(np.diff(band, axis=1)).sum(dtype=np.int64) for band in bands))


def _padding(data: Dataset, values: np.ndarray, everything: np.ndarray, signed: bool) -> np.ndarray | None:
    """Where pixels lie outside what was exposed (PS3.3, C.7.5.1.1.2), bool [height, width]; None where none do."""
    ends = [*numbers(data, "PixelPaddingValue")[:1], *numbers(data, "PixelPaddingRangeLimit")[:1]]
    if not is_given(data, "PixelPaddingValue") or not ends:
        return None
    width = everything.dtype.itemsize * 8
    patterns = np.array([int(end) % 2**width for end in ends], f"u{width // 8}")
    low, high = np.sort(patterns.view(everything.dtype if signed else patterns.dtype)[[0, -1]])
    padding = (values >= low) & (values <= high) | (everything >= low) & (everything <= high)
    return padding if padding.any() else None
