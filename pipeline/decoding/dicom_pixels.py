"""Stored values of a DICOM image: decoded, cut to the bits that are image, their sign restored, their padding found."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from pipeline.decoding import jpeg_structure
from pipeline.decoding.dicom_values import is_given, numbers, whole
from pipeline.decoding.errors import UnreadableImage, broken
from pipeline.decoding.levels import BAND
from pipeline.decoding.limits import Limits
from pipeline.decoding.signatures import behind_fill

MAX_FRAGMENTS = 1_000
ITEM = b"\xfe\xff\x00\xe0"
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
WAVELET = (*JPEG2000TransferSyntaxes, *(UID(f"1.2.840.10008.1.2.4.20{number}") for number in (1, 2, 3)))  # and HTJ2K
SYNTAX_OF_PROCESS = {
    0xC0: JPEGBaseline8Bit,
    0xC1: JPEGExtended12Bit,
    0xC3: JPEGLosslessSV1,
    jpeg_structure.JPEG_LS: JPEGLSLossless,
}
SOC_SIZ = b"\xff\x4f\xff\x51"  # the first two markers of every JPEG 2000 codestream (ISO 15444-1, A.4 and A.5)
JP2_START = b"\x00\x00\x00\x0cjP  \r\n\x87\n"


@dataclass(frozen=True)
class Stored:
    """Values of whole numbers [height, width], where padding lies (bool [height, width] or None), and warnings."""

    values: np.ndarray
    padding: np.ndarray | None
    warnings: list[str]


def check_syntax(syntax: UID | None) -> None:
    """Refuse a transfer syntax that pydicom does not decode here."""
    if syntax is None or syntax in NATIVE:
        return
    try:
        readable = get_decoder(syntax).is_available
    except NotImplementedError:
        readable = False
    if not readable:
        raise UnreadableImage("unsupported_type", "the DICOM file has a transfer syntax (TransferSyntaxUID) that is not read")


def read(data: Dataset, syntax: UID | None, limits: Limits) -> Stored:
    """Decode the first frame of a data set whose header has been checked.

    Raises:
        UnreadableImage: the pixel data are not what the header promises, or cannot be decoded.
    """
    syntax = syntax or _guess(data)
    precision = 0
    if syntax not in NATIVE and syntax != RLELossless:
        precision = _check_codestream(data, syntax, limits)
    plain = ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
    try:
        raw, _ = get_decoder(plain).as_array(data.PixelData, index=0, **_layout(data))
    except Exception:  # noqa: BLE001 - a decoder that meets hostile bytes may raise anything
        raise UnreadableImage(
            "undecodable", f"the DICOM file's pixel data cannot be decoded as what it says they are ({syntax.name})"
        ) from None
    if raw.ndim != 2 or not raw.size:
        raise broken("DICOM", "holds no flat image")
    return _interpret(data, raw, precision)


def _layout(data: Dataset) -> dict[str, Any]:
    """What pydicom must know of the pixels, told without the gaps and the spelling of the header; it shall mend nothing."""
    allocated = whole(data, "BitsAllocated")
    return {
        "raw": True,
        "apply_j2k_sign_correction": False,
        "apply_jls_sign_correction": False,
        "correct_unused_bits": False,
        "rows": whole(data, "Rows"),
        "columns": whole(data, "Columns"),
        "samples_per_pixel": 1,
        "number_of_frames": max(1, whole(data, "NumberOfFrames", 1)),
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": allocated,
        "bits_stored": min(max(1, whole(data, "BitsStored", allocated)), allocated),
        "pixel_representation": int(whole(data, "PixelRepresentation", 0) == 1),
        "pixel_keyword": "PixelData",
        "pixel_vr": data["PixelData"].VR,
    }


def _guess(data: Dataset) -> UID:
    """The transfer syntax of a file that does not say one, where the pixel data leave one answer alone."""
    if not data["PixelData"].is_undefined_length:
        return ImplicitVRLittleEndian if data.original_encoding[0] else (
            ExplicitVRLittleEndian if data.original_encoding[1] else ExplicitVRBigEndian
        )
    stream = _codestream(data)
    if stream.startswith((SOC_SIZ, JP2_START)):
        return JPEG2000Lossless
    if stream.startswith(b"\xff\xd8\xff"):
        frame, _, _ = jpeg_structure.walk(stream, 0, Limits(0))
        if frame.process in SYNTAX_OF_PROCESS:
            return SYNTAX_OF_PROCESS[frame.process]
    raise UnreadableImage(
        "unsupported_type", "the DICOM file does not say its transfer syntax (TransferSyntaxUID), and its pixel data do not"
    )


def _codestream(data: Dataset) -> bytes:
    """The first frame of compressed pixel data, its fragments joined."""
    if data.PixelData.count(ITEM) > MAX_FRAGMENTS:
        raise UnreadableImage("too_much_metadata", f"the DICOM image is in more than {MAX_FRAGMENTS} fragments")
    frames = max(1, whole(data, "NumberOfFrames", 1))
    try:
        return next(generate_frames(data.PixelData, number_of_frames=frames))
    except Exception:  # noqa: BLE001 - as above
        raise broken("DICOM", "has pixel data that are not split into items as its transfer syntax says") from None


def _check_codestream(data: Dataset, syntax: UID, limits: Limits) -> int:
    """A compressed image has a size of its own, which must be the header's; gives the bits of its samples."""
    stream = _codestream(data)
    if syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
        if not stream.startswith(b"\xff\xd8"):
            raise broken("DICOM", "says that its image is a JPEG, and it is none")
        frame, end, _ = jpeg_structure.walk(stream, 0, limits)
        if behind_fill(stream, end) < len(stream):
            raise UnreadableImage("polyglot", "something else lies behind the JPEG in the DICOM file")
        width, height, channels, precision = frame.width, frame.height, frame.channels, frame.precision
    elif syntax in WAVELET:
        width, height, channels, precision = _jpeg2000_size(stream)
    else:
        raise UnreadableImage("unsupported_type", f"the DICOM file's transfer syntax ({syntax.name}) is not read")
    if channels != 1:
        raise UnreadableImage("colour", f"the image inside the DICOM file has {channels} channels; 1 is read")
    rows, columns = whole(data, "Rows"), whole(data, "Columns")
    if (width, height) != (columns, rows):
        raise broken("DICOM", f"says {columns} x {rows} pixels (Columns, Rows), and its image has {width} x {height}")
    return precision


def _jpeg2000_size(stream: bytes) -> tuple[int, int, int, int]:
    """Width, height, channels and bits of a JPEG 2000 codestream (ISO 15444-1, A.5.1), bare or in a JP2 file (I.4)."""
    start = _inside_jp2(stream) if stream.startswith(JP2_START) else 0
    if not stream.startswith(SOC_SIZ, start) or len(stream) < start + 43:
        raise broken("DICOM", "says that its image is a JPEG 2000 codestream, and it is none")
    right, bottom, left, top = struct.unpack_from(">4I", stream, start + 8)
    channels, depth = struct.unpack_from(">HB", stream, start + 40)
    return right - left, bottom - top, channels, (depth & 0x7F) + 1


def _inside_jp2(stream: bytes) -> int:
    """Where the codestream begins in a JP2 file."""
    place = 0
    for _ in range(100):
        length, name = struct.unpack_from(">I4s", stream.ljust(place + 8, b"\0"), place)
        head = 8
        if length == 1:
            length, head = int.from_bytes(stream[place + 8 : place + 16], "big"), 16
        if name == b"jp2c":
            return place + head
        if length < head:
            break
        place += length
    raise broken("DICOM", "holds a JP2 file without a codestream")


def _interpret(data: Dataset, raw: np.ndarray, precision: int) -> Stored:
    """Cut decoded values to BitsStored, whatever their transfer syntax: the bits above may hold an overlay (PS3.5, 8.1)."""
    allocated = raw.dtype.itemsize * 8
    stored = whole(data, "BitsStored", allocated)
    if not 1 <= stored <= allocated:
        raise UnreadableImage("undecodable", f"the DICOM file has BitsStored {stored} in BitsAllocated {allocated}")
    high = whole(data, "HighBit", stored - 1)
    shift = high + 1 - stored if stored <= high + 1 <= allocated and (not precision or precision > high) else 0
    signed = whole(data, "PixelRepresentation", 0) == 1
    pattern = raw.view(np.uint8 if allocated == 8 else np.uint16)
    everything = _cut(pattern, allocated - shift, shift, signed)
    values = _cut(pattern, stored, shift, signed)
    warnings = []
    if stored + shift < allocated and _is_torn(values, everything):
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


def _is_torn(values: np.ndarray, everything: np.ndarray) -> bool:
    """Whether the bits that were cut off belong to the image: without them it jumps where it was smooth.

    An overlay in those bits adds edges; a BitsStored that is too small takes the image's upper half away.
    """
    if np.array_equal(values, everything):
        return False
    return _roughness(everything) < 0.9 * _roughness(values)


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
