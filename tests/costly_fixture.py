"""Small uploads that would cost much: CPU, memory, or both. Each is a kind; sizes are chosen by who asks."""

import functools
import os
import struct
import zlib

import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from tests.image_fixture import chest_dicom, encoded, png, scene
from tests.image_storage import dicom

Tag = tuple[int, int, int, int]  # number, type, count, value or place


def _directory(tags: list[Tag]) -> bytes:
    return struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags)) + bytes(4)


def _strips(side: int, body: bytes, bits: int, number: int) -> list[Tag]:
    plain = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, bits), (259, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8)]
    return [*plain, (277, 3, 1, 1), (278, 4, 1, side), (279, 4, 1, len(body)), (339, 3, 1, number)]


def _tiff(body: bytes, tags: list[Tag], tail: bytes = b"") -> bytes:
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + _directory(tags) + tail


def wide_float(side: int = 4400) -> bytes:
    """Floating point that deflates to 75 kB, and needs more than 100 MB while it is read."""
    body = zlib.compress(bytes(side * side * 4), 9)
    return _tiff(body, _strips(side, body, 32, 3))


def many_tiles(count: int = 100) -> bytes:
    """Tiles of 16 megapixels, of each a column one pixel wide in the image, all the same bytes of the file."""
    body = zlib.compress(bytes(2**24), 9)
    tags = [(256, 4, 1, 1), (257, 4, 1, 16 * count), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    places = 8 + len(body) + 2 + 12 * 10 + 4
    tags += [(322, 4, 1, 2**20), (323, 4, 1, 16), (324, 4, count, places), (325, 4, count, places + 4 * count)]
    return _tiff(body, tags, struct.pack("<I", 8) * count + struct.pack("<I", len(body)) * count)


def shared_strips(count: int = 4000) -> bytes:
    """Strips of one row each that are all the same megabyte of the file."""
    body = os.urandom(2**20)
    tags = [tag for tag in _strips(count, body, 8, 1) if tag[0] not in (273, 278, 279)]
    places = 8 + len(body) + 2 + 12 * 10 + 4
    tags += [(273, 4, count, places), (278, 4, 1, 1), (279, 4, count, places + 4 * count)]
    return _tiff(body, tags, struct.pack("<I", 8) * count + struct.pack("<I", len(body)) * count)


def long_runs(megabytes: int = 2) -> bytes:
    """A run-length frame of 256 x 256 pixels whose segment unpacks to 64 times its size."""
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * (megabytes * 2**19)
    return chest_dicom(scene(256, 256), RLELossless, PixelData=encapsulate([frame]))


def elements_behind(count: int = 1_000_000) -> bytes:
    """Empty elements behind the pixel data, eight bytes each."""
    numbers = np.arange(count)
    elements = np.zeros((count, 4), "<u2")
    elements[:, 0], elements[:, 1] = 0x7FE1 + 2 * (numbers // 0xE000), 0x1000 + numbers % 0xE000
    elements[:, 2] = int.from_bytes(b"CS", "little")
    return chest_dicom() + elements.tobytes()


@functools.cache
def slow_dicom(side: int = 3500) -> bytes:
    """A JPEG 2000 image of noise: seconds of CPU."""
    return chest_dicom(np.random.default_rng(0).integers(0, 256, (side, side), np.uint8), JPEG2000Lossless)


def many_passes(side: int = 4400) -> bytes:
    """A progressive JPEG of three channels at full size: ten passes over all of it, and 116 MB of coefficients."""
    grey = Image.fromarray(np.tile(scene(220, 220), (side // 220, side // 220)))
    return encoded(Image.merge("RGB", [grey] * 3), "JPEG", progressive=True, subsampling=0)


def deep_alpha(side: int = 4400) -> bytes:
    """A PNG of four channels of 16 bits."""
    pack = zlib.compressobj(1)
    rows = b"".join(pack.compress(bytes(1 + 8 * side)) for _ in range(side))
    return png(side, side, colour=6, depth=16, content=rows + pack.flush())


def inflated_dicom(side: int = 4400) -> bytes:
    """A deflated DICOM file of zeros."""
    return dicom(np.zeros((side, side), np.uint16), DeflatedExplicitVRLittleEndian)


COSTLY = {
    "tiles that share bytes": many_tiles,
    "strips that share bytes": shared_strips,
    "floating point": wide_float,
    "run lengths": lambda: long_runs(8),
    "elements behind the pixels": elements_behind,
    "JPEG 2000 of noise": slow_dicom,
    "progressive JPEG": many_passes,
    "16-bit colours and alpha": deep_alpha,
    "deflated DICOM": inflated_dicom,
}
