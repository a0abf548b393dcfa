"""Images and arrays of images, recognised by their content: a file's name says nothing about what it shows.

Signatures are those of the formats' specifications (ISO 10918-1, 15948, 15444-1; TIFF 6.0; DICOM PS3.10 and PS3.5; RFC 9649).
Not looked into: HDF5, PDF, encrypted or 7z archives.
"""

import base64
import bz2
import io
import itertools
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

import numpy as np

SIGNATURES = (  # a regular expression of the first bytes
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("GIF", rb"GIF8[79]a"),
    ("TIFF", rb"II[*+]\x00|MM\x00[*+]"),
    ("WebP", rb"RIFF.{4}WEBP"),
    ("JPEG 2000", rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    ("JPEG XL", rb"\x00\x00\x00\x0cJXL \r\n\x87\n|\xff\x0a"),
    ("HEIF", rb".{4}ftyp(?:avif|avis|heic|heix|mif1)"),
    ("BMP", rb"BM.{4}\x00{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00{3}"),
    ("PNM", rb"P[1-6]\s(?:#[^\n]*\n)?\s*\d+\s+\d+\s"),
    ("DICOM", rb".{128}DICM"),
)
SIDE = 16  # pixels: a smaller image shows nobody
# 256 characters of base64, perhaps in lines, as in a data: URI, a notebook or a mail.
BASE64 = re.compile(rb"[A-Za-z0-9+/]{60}[A-Za-z0-9+/\s]{196,}")
LIMIT = 2**28  # bytes that are unpacked of one stream
DEPTH = 4  # archives within archives
UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError)
LONG_FORMS = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR", b"OD", b"OF", b"OL", b"OV")


def kind(data: bytes, depth: int = DEPTH) -> str | None:
    """What image a file's bytes are or hold, as `zip > PNG`; None where there is none.

    Args:
        data: the whole file.
        depth: how many wrappers (archives, compression, base64) are looked into.
    """
    signature = next((name for name, start in SIGNATURES if re.match(start, data, re.DOTALL)), None)
    if signature or _is_dicom_without_preamble(data):
        return signature or "DICOM"
    if data.startswith(b"\x93NUMPY"):
        return _array(data)
    name, _, unpack = next(
        (wrapper for wrapper in WRAPPERS if re.match(wrapper[1], data, re.DOTALL)), ("base64", b"", _base64)
    )
    if depth == 0:
        return None if unpack is _base64 else f"{name}, nested too deeply to look into"
    try:
        inner = next((signature for part in unpack(data) if (signature := kind(part, depth - 1))), None)
    except UNREADABLE:
        return f"{name} that cannot be read"
    return f"{name} > {inner}" if inner else None


def _is_dicom_without_preamble(data: bytes) -> bool:
    """Two elements in rising order at the start, the first of the groups 0002 or 0008, in either byte order."""
    for order in "<>":
        place, tags = 0, [(0, 0)]
        while len(data) >= place + 12 and len(tags) < 3:
            tag = struct.unpack_from(f"{order}HH", data, place)
            if tag <= tags[-1] or tag[0] not in ((2, 8) if len(tags) == 1 else (2, 8, 0x10)):
                break
            tags.append(tag)
            place += _element_length(data, place, order)
        if len(tags) == 3:
            return True
    return False


def _element_length(data: bytes, place: int, order: str) -> int:
    representation = data[place + 4 : place + 6]
    if representation in LONG_FORMS:
        return 12 + struct.unpack_from(f"{order}I", data, place + 8)[0]
    if re.fullmatch(rb"[A-Z]{2}", representation):
        return 8 + struct.unpack_from(f"{order}H", data, place + 6)[0]
    return 8 + struct.unpack_from(f"{order}I", data, place + 4)[0]


def _array(data: bytes) -> str | None:
    """An .npy file of pixels: bytes in number, or numbers in two neighbouring axes of at least SIDE. Pickles count too."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
    except ValueError:
        return "array that cannot be read"
    plane = any(min(sides) >= SIDE for sides in itertools.pairwise(shape))
    pixels = dtype.kind == "u" and dtype.itemsize <= 2 and int(np.prod(shape)) >= SIDE * SIDE
    if dtype.hasobject or (dtype.kind in "uif" and (plane or pixels)):
        return f"array {dtype} {shape}"
    return None


def _zip(data: bytes) -> Iterator[bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                yield stream.read(LIMIT)


def _tar(data: bytes) -> Iterator[bytes]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for member in archive:
            if member.isfile() and (stream := archive.extractfile(member)):
                yield stream.read(LIMIT)


def _gzip(data: bytes) -> Iterator[bytes]:
    yield zlib.decompressobj(wbits=31).decompress(data, LIMIT)


def _bzip2(data: bytes) -> Iterator[bytes]:
    yield bz2.BZ2Decompressor().decompress(data, LIMIT)


def _xz(data: bytes) -> Iterator[bytes]:
    yield lzma.LZMADecompressor().decompress(data, LIMIT)


def _base64(data: bytes) -> Iterator[bytes]:
    r"""Every long run of base64, decoded; JSON writes `\/` and `\n` in it."""
    for run in BASE64.findall(data.replace(b"\\/", b"/").replace(b"\\n", b"\n")):
        text = b"".join(run.split())
        yield base64.b64decode(text[: len(text) // 4 * 4])


WRAPPERS: tuple[tuple[str, bytes, Callable[[bytes], Iterator[bytes]]], ...] = (
    ("zip", rb"PK\x03\x04", _zip),
    ("gzip", rb"\x1f\x8b\x08", _gzip),
    ("bzip2", rb"BZh[1-9]", _bzip2),
    ("xz", rb"\xfd7zXZ\x00", _xz),
    ("tar", rb".{257}ustar", _tar),
)
