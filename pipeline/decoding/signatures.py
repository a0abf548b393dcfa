"""The type of a file, by its first bytes; a name or a client's word counts for nothing."""

import re
import struct

from pipeline.decoding.errors import UnreadableImage

# Padding and white space behind an end marker are no second file; FF counts as padding where no image begins with it.
FILL = re.compile(rb"(?:[\0 \t\r\n\x1a]|\xff(?!\xd8\xff))*+")
JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
TIFF_STARTS = (b"II*\x00", b"MM\x00*", b"II+\x00\x08\x00\x00\x00", b"MM\x00+\x00\x08\x00\x00")  # the last two: BigTIFF
PREAMBLE = 128  # bytes before DICOM's prefix
PREFIX = b"DICM"
# DICOM leaves the preamble to its writer and names TIFF's header as a use of it (PS3.10, 7.1); none of these is one.
OTHER_PROGRAMS = (JPEG_START, b"\x89PNG", b"GIF8", b"MZ", b"\x7fELF", b"#!", b"<", b"%PDF", b"PK", b"\xca\xfe\xba\xbe")
KNOWN = {  # start of a file that is not read: what it is
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"%PDF": "PDF",
    b"PK\x03\x04": "ZIP",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\x1f\x8b": "gzip",
}
BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF"}
VRS = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
ARCHIVE_END = b"PK\x05\x06"  # the record that a ZIP reader looks for in the last 64 kB
FIRST_GROUPS = (0x0002, 0x0008)  # of a DICOM file that begins without a preamble


def sniff(data: bytes) -> str:
    """JPEG, PNG, TIFF or DICOM.

    Raises:
        UnreadableImage: another type, named where it is known, or two types at once.
    """
    if data[PREAMBLE : PREAMBLE + 4] == PREFIX:
        if data.startswith(OTHER_PROGRAMS):
            raise UnreadableImage("polyglot", "the DICOM file is a file of another type as well")
        return "DICOM"
    if data.startswith(JPEG_START):
        return "JPEG"
    if data.startswith(PNG_START):
        return "PNG"
    if data.startswith(TIFF_STARTS):
        return "TIFF"
    if begins_as_dicom(data):
        return "DICOM"
    raise UnreadableImage("unsupported_type", f"the file is {_name(data)}; JPEG, PNG, TIFF and DICOM are read")


def check_alone(kind: str, data: bytes) -> None:
    """Refuse an image that readers of documents or archives would open as well: they look at both ends of a file."""
    if b"%PDF-" in data[:1024] or ARCHIVE_END in data[-65557:]:
        raise UnreadableImage("polyglot", f"the {kind} file is a document or an archive as well")


def begins_as_dicom(data: bytes) -> bool:
    """Whether a file without a preamble begins with a DICOM element: bare prefix, file meta or data set."""
    if data.startswith(PREFIX):
        return True
    if len(data) < 16:
        return False
    group, element, length = struct.unpack_from("<HHI", data)
    if group in FIRST_GROUPS and element <= 0x0100:
        return data[4:6] in VRS or length <= min(256, len(data) - 8)
    return struct.unpack_from(">H", data)[0] == FIRST_GROUPS[1] and data[4:6] in VRS  # big endian is always explicit


def behind_fill(data: bytes, end: int) -> int:
    """The place behind the padding that follows `end`."""
    padding = FILL.match(data, end)
    return padding.end() if padding else end


def _name(data: bytes) -> str:
    if not data:
        return "empty"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "a WEBP file"
    if data[4:8] == b"ftyp":
        return f"a {BRANDS.get(data[8:12], 'video or HEIF')} file"
    for start, name in KNOWN.items():
        if data.startswith(start):
            return f"a {name} file"
    return "of no known image type"
