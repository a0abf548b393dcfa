"""The transfer syntax of a DICOM file, and the compressed image inside it: whether it is what the header promises."""

import struct
from typing import NamedTuple

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
)

from pipeline.decoding import jpeg_structure
from pipeline.decoding.dicom_values import integer
from pipeline.decoding.errors import UnreadableImage, broken
from pipeline.decoding.limits import TRUSTED, Limits
from pipeline.decoding.signatures import behind_fill

MAX_FRAGMENTS = 10_000
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
RLE_HEADER = 64  # bytes before the run lengths
JP2_START = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
END_OF_CODESTREAM = b"\xff\xd9"  # of JPEG 2000, whose data hold no such pair (ISO 15444-1, A.1)


class Samples(NamedTuple):
    """What a compressed image says of its samples: bits (0 where it says nothing), and whether they have a sign, if it says."""

    bits: int = 0
    signed: bool | None = None


def check_syntax(syntax: UID | None) -> None:
    """Refuse a transfer syntax that pydicom does not decode here."""
    if syntax is None or syntax in NATIVE:
        return
    try:
        readable = get_decoder(syntax).is_available
    except NotImplementedError:
        readable = False
    if not readable:
        raise UnreadableImage(
            "unsupported_type", "the DICOM file has a transfer syntax (TransferSyntaxUID) that is not read"
        )


def true_syntax(data: Dataset, stated: UID | None) -> UID:
    """How the pixels are encoded: as stated, or where the file says nothing, or nothing possible, as their form shows.

    Raises:
        UnreadableImage: their form leaves more than one answer.
    """
    compressed = data["PixelData"].is_undefined_length or data.PixelData.startswith(ITEM)
    if compressed and stated is not None and stated not in NATIVE:
        return stated
    if not compressed:
        implicit, little_endian = data.original_encoding
        if implicit:
            return ImplicitVRLittleEndian
        return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
    stream = _codestream(data)
    if stream.startswith((SOC_SIZ, JP2_START)):
        return JPEG2000Lossless
    if stream.startswith(b"\xff\xd8\xff"):
        frame, _, _ = jpeg_structure.walk(stream, 0, TRUSTED)
        if frame.process in SYNTAX_OF_PROCESS:
            return SYNTAX_OF_PROCESS[frame.process]
    raise UnreadableImage(
        "unsupported_type",
        "the DICOM file does not say how its pixel data are compressed (TransferSyntaxUID), and they do not show it",
    )


def _codestream(data: Dataset) -> bytes:
    """The first frame of compressed pixel data, its fragments joined."""
    if data.PixelData.count(ITEM) > MAX_FRAGMENTS:
        raise UnreadableImage("too_much_metadata", f"the DICOM image is in more than {MAX_FRAGMENTS} fragments")
    frames = max(1, integer(data, "NumberOfFrames", 1))
    try:
        return next(generate_frames(data.PixelData, number_of_frames=frames))
    except Exception:  # noqa: BLE001 - pydicom raises many kinds on hostile bytes
        raise broken("DICOM", "has pixel data that are not split into items as its transfer syntax says") from None


def check_length(data: Dataset) -> None:
    """Uncompressed pixels have the length that the header says, and may be padded: more of them are another image."""
    needed = integer(data, "Rows") * integer(data, "Columns") * integer(data, "BitsAllocated") // 8
    length = len(data.PixelData)
    if length < needed or (length > needed + 1 and behind_fill(data.PixelData, needed) < length):
        raise broken(
            "DICOM",
            f"has {length} bytes of pixel data; Rows, Columns and BitsAllocated need {needed}",
        )


def check_runs(data: Dataset) -> None:
    """Run lengths (PS3.5, G) take at most two bytes for one of the image: what is longer unpacks to more than the image."""
    most = RLE_HEADER + 2 * integer(data, "Rows") * (integer(data, "Columns") + 1) * integer(data, "BitsAllocated") // 8
    length = len(_codestream(data))
    if length > most:
        raise broken("DICOM", f"has {length} bytes of run lengths; Rows, Columns and BitsAllocated need {most} at most")


def check_codestream(data: Dataset, syntax: UID, limits: Limits) -> Samples:
    """A compressed image has a size of its own, which must be the header's; gives what it says of its samples."""
    stream = _codestream(data)
    if syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
        if not stream.startswith(b"\xff\xd8"):
            raise broken("DICOM", "says that its image is a JPEG, and it is none")
        frame, end, _ = jpeg_structure.walk(stream, 0, limits)
        if behind_fill(stream, end) < len(stream):
            raise UnreadableImage("polyglot", "something else lies behind the JPEG in the DICOM file")
        width, height, channels, samples = frame.width, frame.height, frame.channels, Samples(frame.precision)
    elif syntax in WAVELET:
        width, height, channels, samples = _jpeg2000_size(stream)
        end = stream.rfind(END_OF_CODESTREAM) + len(END_OF_CODESTREAM)
        if stream.startswith(SOC_SIZ) and end >= len(SOC_SIZ) and behind_fill(stream, end) < len(stream):
            raise UnreadableImage("polyglot", "something else lies behind the JPEG 2000 image in the DICOM file")
    else:
        raise UnreadableImage("unsupported_type", f"the DICOM file's transfer syntax ({syntax.name}) is not read")
    if channels != 1:
        raise UnreadableImage("colour", f"the image inside the DICOM file has {channels} channels; 1 is read")
    rows, columns = integer(data, "Rows"), integer(data, "Columns")
    if (width, height) != (columns, rows):
        raise broken("DICOM", f"says {columns} x {rows} pixels (Columns, Rows), and its image has {width} x {height}")
    return samples


def _jpeg2000_size(stream: bytes) -> tuple[int, int, int, Samples]:
    """Width, height, channels and samples of a JPEG 2000 codestream (ISO 15444-1, A.5.1), bare or in a JP2 file (I.4)."""
    start = _inside_jp2(stream) if stream.startswith(JP2_START) else 0
    if not stream.startswith(SOC_SIZ, start) or len(stream) < start + 43:
        raise broken("DICOM", "says that its image is a JPEG 2000 codestream, and it is none")
    right, bottom, left, top = struct.unpack_from(">4I", stream, start + 8)
    channels, depth = struct.unpack_from(">HB", stream, start + 40)
    return right - left, bottom - top, channels, Samples((depth & 0x7F) + 1, bool(depth & 0x80))


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
