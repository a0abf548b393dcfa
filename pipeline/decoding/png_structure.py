"""The structure of a PNG file, walked without decoding (ISO 15948)."""

import struct
import zlib
from dataclasses import dataclass

from pipeline.decoding.errors import UnreadableImage, broken
from pipeline.decoding.limits import Limits
from pipeline.decoding.signatures import PNG_START, behind_fill

MAX_CHUNKS = 20_000
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each colour type
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # bits of a channel, of each


@dataclass(frozen=True)
class Header:
    """The image header (IHDR)."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def samples(self) -> int | None:
        """Samples that a decoder works on, at most: with alpha on black they are four a pixel. None at 16 bits."""
        return 4 * self.width * self.height if self.depth <= 8 else None


def read_header(data: bytes) -> Header:
    """Read IHDR, which is the first chunk."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise broken("PNG", "does not begin with its header")
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if depth not in DEPTHS.get(colour, ()) or not width or not height:
        raise broken("PNG", "has an impossible header")
    return Header(width, height, depth, colour, bool(interlaced))


def check(data: bytes, limits: Limits) -> Header:
    """Walk a PNG to its end.

    Raises:
        UnreadableImage: too much metadata, too many frames, another file behind the image, or a broken structure.
    """
    header = read_header(data)
    position, metadata = len(PNG_START), 0
    for _ in range(MAX_CHUNKS):
        length = int.from_bytes(data[position : position + 4], "big")
        name = data[position + 4 : position + 8]
        position += 12 + length
        if len(name) < 4 or position > len(data):
            raise broken("PNG", "ends early")
        if name == b"IEND":
            end = behind_fill(data, position)
            if end < len(data):
                raise UnreadableImage("polyglot", f"{len(data) - end} bytes of something else lie behind the PNG image")
            return header
        if name == b"acTL":
            frames = int.from_bytes(data[position - 4 - length : position - length], "big")
            limits.check_frames("PNG", frames)
        elif name != b"IDAT":
            metadata += length
            limits.check_metadata("PNG", metadata)
    raise broken("PNG", f"has more than {MAX_CHUNKS} chunks")


def check_rows(data: bytes, header: Header) -> None:
    """Unpack the pixel data without keeping it: Pillow takes an image that lacks rows for a complete one.

    Costs time in proportion to the image's size, which must have been checked.
    """
    missing = _unpacked_size(header)
    unpack = zlib.decompressobj()
    position = len(PNG_START)
    while missing > 0 and position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"IDAT":
            packed = data[position + 8 : position + 8 + length]
            while packed and missing > 0:
                try:
                    missing -= len(unpack.decompress(packed, 2**20))
                except zlib.error:
                    raise broken("PNG", "has pixel data that cannot be unpacked") from None
                packed = unpack.unconsumed_tail
        position += 12 + length
    if missing > 0:
        raise broken("PNG", "ends before its last row")


def _unpacked_size(header: Header) -> int:
    """Bytes of all rows, each with its filter byte."""
    bits = header.depth * CHANNELS[header.colour]
    passes = ADAM7 if header.interlaced else ((0, 0, 1, 1),)
    size = 0
    for left, top, right, down in passes:
        columns, rows = -(-(header.width - left) // right), -(-(header.height - top) // down)
        if columns > 0 and rows > 0:
            size += rows * (1 + (columns * bits + 7) // 8)
    return size
