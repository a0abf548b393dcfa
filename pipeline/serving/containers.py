"""The structure of JPEG, PNG and TIFF files, walked without decoding: end, frames, size of the metadata.

A file that holds something else behind or beside its picture, metadata without measure, or a second frame is refused
before a decoder sees it.
"""

import re
import struct
import zlib

from pipeline.serving.problems import Problem

MAX_METADATA = 2 * 2**20  # bytes of comments, profiles, tags
MAX_PIECES = 20_000  # segments, chunks or tags
MAX_SCANS = 32  # of a progressive JPEG; each costs a pass over the whole picture
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TIFF_STARTS = (b"II*\x00", b"MM\x00*")
JPEG_START = b"\xff\xd8\xff"
# In entropy-coded data FF is followed by 00 or a restart marker; any other marker ends the scan.
SCAN_END = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
TIFF_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
STRIPS_AND_TILES = {273, 279, 324, 325}
MAX_STRIPS = 100_000


def check(kind: str, data: bytes, max_frames: int) -> None:
    """Walk a file of the given kind.

    Raises:
        Problem: 413 metadata or frames, 415 another file behind the picture, 422 the structure is broken.
    """
    if b"%PDF-" in data[:1024] or b"PK\x05\x06" in data[-65557:]:
        raise Problem(415, "polyglot", f"the {kind} file is a document or an archive as well")
    if kind == "JPEG":
        check_jpeg(data)
    elif kind == "PNG":
        _check_png(data, max_frames)
    else:
        _check_tiff(data, max_frames)


def check_jpeg(data: bytes) -> tuple[int, int, int]:
    """Walk a JPEG (ISO 10918-1, and JPEG-LS, ISO 14495-1) to its end; returns width, height and channels of its header."""
    position, metadata, scans = 2, 0, 0
    size = (0, 0, 0)
    for _ in range(MAX_PIECES):
        while data[position : position + 2] == b"\xff\xff":  # fill bytes
            position += 1
        marker = data[position + 1 : position + 2]
        if data[position : position + 1] != b"\xff" or not marker:
            raise _broken("JPEG", "ends early or has a gap")
        if marker == b"\xd9":
            _check_tail("JPEG", data, position + 2)
            return size
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if length < 2:
            raise _broken("JPEG", "has a segment without a length")
        code = marker[0]
        if code in FRAME_HEADERS or code == 0xF7:
            if size != (0, 0, 0):
                raise _broken("JPEG", "has two frame headers")
            height, width, channels = struct.unpack(">HHB", data[position + 5 : position + 10].ljust(5, b"\0"))
            size = (width, height, channels)
        elif code >= 0xE0:
            metadata += length
            _check_metadata("JPEG", metadata)
        position += 2 + length
        if code == 0xDA:
            scans += 1
            if scans > MAX_SCANS:
                raise _broken("JPEG", f"has more than {MAX_SCANS} scans")
            end = SCAN_END.search(data, position)
            if not end:
                raise _broken("JPEG", "ends early")
            position = end.end() - 2
    raise _broken("JPEG", f"has more than {MAX_PIECES} segments")


def _check_png(data: bytes, max_frames: int) -> None:
    position, metadata = len(PNG_SIGNATURE), 0
    for _ in range(MAX_PIECES):
        length = int.from_bytes(data[position : position + 4], "big")
        name = data[position + 4 : position + 8]
        position += 12 + length
        if len(name) < 4 or position > len(data):
            raise _broken("PNG", "ends early")
        if name == b"IEND":
            _check_tail("PNG", data, position)
            return
        if name == b"acTL":
            frames = int.from_bytes(data[position - 4 - length : position - length], "big")
            _check_frames("PNG", max(frames, 2), max_frames)
        elif name != b"IDAT":
            metadata += length
            _check_metadata("PNG", metadata)
    raise _broken("PNG", f"has more than {MAX_PIECES} chunks")


def check_png_rows(data: bytes) -> None:
    """Unpack the pixel data without keeping it: Pillow takes a picture that lacks rows for a whole one.

    Costs time in proportion to the picture's size, which must have been checked.
    """
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 4)
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    missing = 0
    for left, top, right, down in passes:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            missing += rows * (1 + (columns * bits + 7) // 8)
    unpack = zlib.decompressobj()
    position = len(PNG_SIGNATURE)
    while missing > 0 and position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"IDAT":
            packed = data[position + 8 : position + 8 + length]
            while packed and missing > 0:
                try:
                    missing -= len(unpack.decompress(packed, 2**20))
                except zlib.error:
                    raise _broken("PNG", "has pixel data that cannot be unpacked") from None
                packed = unpack.unconsumed_tail
        position += 12 + length
    if missing > 0:
        raise _broken("PNG", "ends before its last row")


def _check_tiff(data: bytes, max_frames: int) -> None:
    order = "<" if data.startswith(b"II") else ">"
    frames, metadata = 0, 0
    place = _number(data, 4, order + "I")
    while place:
        frames += 1
        _check_frames("TIFF", frames, max_frames)
        tags = _number(data, place, order + "H")
        for tag in range(tags):
            entry = place + 2 + 12 * tag
            name, unit = _number(data, entry, order + "H"), _number(data, entry + 2, order + "H")
            count = _number(data, entry + 4, order + "I")
            if name in STRIPS_AND_TILES and count > MAX_STRIPS:
                raise Problem(
                    413, "too_much_metadata", f"the TIFF file has {count} strips; at most {MAX_STRIPS} are read"
                )
            metadata += 12 + count * TIFF_UNITS.get(unit, 8)
            _check_metadata("TIFF", metadata)
        place = _number(data, place + 2 + 12 * tags, order + "I")


def _number(data: bytes, place: int, form: str) -> int:
    try:
        return int(struct.unpack_from(form, data, place)[0])
    except struct.error:
        raise _broken("TIFF", "points behind its end") from None


def _check_tail(kind: str, data: bytes, end: int) -> None:
    """Padding with zeros is harmless; anything else behind the picture is another file."""
    if data[end:].strip(b"\0"):
        raise Problem(415, "polyglot", f"{len(data) - end} bytes of something else lie behind the {kind} picture")


def _check_metadata(kind: str, size: int) -> None:
    if size > MAX_METADATA:
        raise Problem(
            413,
            "too_much_metadata",
            f"the {kind} file has {size} bytes of metadata or more; at most {MAX_METADATA} are read",
            bytes=size,
            limit=MAX_METADATA,
        )


def _check_frames(kind: str, frames: int, limit: int) -> None:
    if frames > limit:
        raise Problem(
            413,
            "too_many_frames",
            f"the {kind} file has {frames} frames or more; at most {limit} are read",
            frames=frames,
            limit=limit,
        )


def _broken(kind: str, what: str) -> Problem:
    return Problem(422, "undecodable", f"the {kind} file {what}")
