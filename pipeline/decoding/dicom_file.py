"""A DICOM file's elements, read within bounds: file meta, transfer syntax, what lies before the pixels, the pixels.

Only the elements that `KEYWORDS` names are kept; all others, private ones and overlay planes among them, are passed over.
"""

import io
import logging
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from pipeline.decoding.errors import UnreadableImage, broken
from pipeline.decoding.limits import Limits
from pipeline.decoding.signatures import ARCHIVE_END, PREAMBLE, PREFIX, VRS, begins_as_dicom, behind_fill

KEYWORDS = (
    *("SpecificCharacterSet", "Modality", "StudyDate", "PatientBirthDate", "PatientAge", "BodyPartExamined"),
    *("ViewPosition", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("VOILUTSequence", "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData"),
)
TAGS = [Tag(tag) for keyword in KEYWORDS if (tag := tag_for_keyword(keyword)) is not None]
PIXEL_DATA = Tag("PixelData")
MAX_READS = 20_000  # of the header, and of the pixel data; a chest radiograph needs a few hundred
META_GROUP, TRANSFER_SYNTAX = 0x0002, 0x0010
LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # types with a length of four bytes
FIRST_BYTES = 8
ZLIB_STARTS = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
FIRST_ELEMENT = 512  # bytes that hold the first element of a data set

# What pydicom says of odd values quotes them, and tags are never logged.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module="pydicom")


class Encoding(NamedTuple):
    """How elements are written."""

    implicit: bool
    little_endian: bool


class _Bounded(io.BytesIO):
    """A file that gives out: reading a header of endless elements must end."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.size = len(data)
        self.reads = 0
        self.limit = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > self.limit:
            raise UnreadableImage(
                "too_much_metadata", f"the DICOM file has more than {self.limit} elements or fragments"
            )
        return super().read(size)


@dataclass(frozen=True)
class DicomFile:
    """The header of a file, and where its pixels follow; `syntax` is None where the file does not say.

    `ends_early`: the file ends where the pixels should follow, so that what the header lacks may have been cut off.
    """

    header: Dataset
    syntax: UID | None
    ends_early: bool
    _stream: _Bounded
    _encoding: Encoding

    def pixels(self) -> Dataset:
        """The header with the pixel data and without what follows.

        Raises:
            UnreadableImage: there are none.
        """
        self._stream.limit = self._stream.reads + MAX_READS + self._stream.size // 1024
        start = self._stream.tell()
        rest = read_dataset(
            self._stream,
            *self._encoding,
            stop_when=lambda tag, vr, length: tag != PIXEL_DATA,
            specific_tags=[PIXEL_DATA],
        )
        tag = struct.pack("<HH" if self._encoding.little_endian else ">HH", PIXEL_DATA.group, PIXEL_DATA.element)
        if "PixelData" not in rest and self._stream.getvalue().startswith(tag, start):
            raise broken("DICOM", "ends within its pixel data")
        if not rest.get("PixelData"):
            raise UnreadableImage("undecodable", "the DICOM file holds no pixel data (PixelData)")
        self.header[PIXEL_DATA] = rest[PIXEL_DATA]
        self._check_rest()
        return self.header

    def _check_rest(self) -> None:
        """Elements may follow the pixel data (PS3.5, 7.1), and padding; anything else is another file."""
        start = self._stream.tell()
        rest = self._stream.read()
        if behind_fill(rest, 0) == len(rest):
            return
        self._stream.seek(start)
        self._stream.limit = self._stream.reads + MAX_READS
        try:
            read_dataset(self._stream, *self._encoding, stop_when=_is_out_of_order, specific_tags=[PIXEL_DATA])
            ended = self._stream.tell() <= self._stream.size
            padding = self._stream.read()
        except UnreadableImage:
            raise
        except Exception:  # noqa: BLE001 - what is no DICOM may raise anything
            ended, padding = False, b""
        if not ended or behind_fill(padding, 0) < len(padding) or ARCHIVE_END in rest:
            raise UnreadableImage(
                "polyglot", f"{len(rest)} bytes of something else lie behind the DICOM file's pixel data"
            )


def read(data: bytes, limits: Limits) -> DicomFile:
    """Read everything before the pixels.

    Raises:
        UnreadableImage: no DICOM elements, an impossible transfer syntax, or too much before the pixels.
    """
    start = PREAMBLE + len(PREFIX) if data[PREAMBLE : PREAMBLE + 4] == PREFIX else len(PREFIX) * data.startswith(PREFIX)
    syntax, start = _file_meta(data, start)
    body = data
    if syntax in (None, DeflatedExplicitVRLittleEndian) and not begins_as_dicom(data[start : start + FIRST_ELEMENT]):
        body, start = _inflated(data[start:], syntax, limits), 0
    stream = _Bounded(body)
    stream.seek(start)
    encoding = _encoding(body[start : start + FIRST_BYTES])
    header = read_dataset(stream, *encoding, stop_when=_at_pixels, specific_tags=list(TAGS))
    if stream.tell() > len(body):
        raise broken("DICOM", "has an element that is longer than the file")
    limits.check_metadata("DICOM", stream.tell() - start)
    header.set_original_encoding(*encoding, header._character_set)
    header.file_meta = FileMetaDataset()
    return DicomFile(header, syntax, stream.tell() >= len(body), stream, encoding)


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag >= PIXEL_DATA or tag in (0x7FE00008, 0x7FE00009)


def _is_out_of_order(tag: BaseTag, vr: str | None, length: int) -> bool:
    """Elements stand in ascending order (PS3.5, 7.1): what comes before the pixels cannot follow them."""
    return tag <= PIXEL_DATA


def _encoding(first: bytes) -> Encoding:
    """As the first element shows, whose group is a small number: what the transfer syntax says of it may be wrong."""
    if first[4:6] not in VRS:
        return Encoding(implicit=True, little_endian=True)
    return Encoding(implicit=False, little_endian=first[1:2] == b"\0")


def _file_meta(data: bytes, start: int) -> tuple[UID | None, int]:
    """The transfer syntax that the file meta group names, if any, and where the data set begins."""
    syntax = None
    while len(data) - start >= FIRST_BYTES:
        group, element, vr, length = struct.unpack_from("<HH2sH", data, start)
        if group != META_GROUP:
            break
        begin = start + FIRST_BYTES
        if vr in LONG:
            begin += 4
            length = int.from_bytes(data[start + 8 : begin], "little")
        elif vr not in VRS:  # written implicitly, against the standard
            length = int.from_bytes(data[start + 4 : begin], "little")
        start = begin + length
        if start > len(data):
            raise broken("DICOM", "ends within its file meta group")
        if element == TRANSFER_SYNTAX:
            syntax = data[begin:start].rstrip(b"\0 ").decode("ascii", "replace")
    return UID(syntax) if syntax else None, start


def _inflated(packed: bytes, syntax: UID | None, limits: Limits) -> bytes:
    """A deflated data set (PS3.5, A.5), unpacked up to the largest size that an image may have.

    Some programs write zlib's header in front of it, or checksum and length behind it, as gzip does.
    """
    unpack = zlib.decompressobj(zlib.MAX_WBITS if packed.startswith(ZLIB_STARTS) else -zlib.MAX_WBITS)
    try:
        body = unpack.decompress(packed, limits.max_file)
    except zlib.error:
        if syntax is None:
            raise broken(
                "DICOM", "has no readable element, and does not say how it is written (TransferSyntaxUID)"
            ) from None
        raise broken("DICOM", "is deflated and cannot be unpacked") from None
    if unpack.unconsumed_tail:
        raise UnreadableImage(
            "too_much_metadata", f"the deflated DICOM file unpacks to more than {limits.max_file} bytes"
        )
    behind = unpack.unused_data
    trailer = struct.pack("<II", zlib.crc32(body), len(body))
    if behind_fill(behind, len(trailer) * behind.startswith(trailer)) < len(behind):
        raise UnreadableImage("polyglot", f"{len(behind)} bytes of something else lie behind the deflated DICOM file")
    return body
