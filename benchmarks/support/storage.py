"""The kinds of file that one grey image is stored as: for each, the bytes, and the image that must be read."""

import io
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from tests.image_storage import Way, dicom, encoded, lut, parsed, png, stored, tiff

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
BORDER = 0.1  # of the height, where padding lies


class Stored(NamedTuple):
    """One kind: its name, the file, and the image that it must read as."""

    name: str
    data: bytes
    image: np.ndarray


def kinds(grey: np.ndarray) -> Iterator[Stored]:
    """Every kind of one image, uint8 [height, width]."""
    twelve, full = grey.astype(np.uint16) * 16 + 7, grey.astype(np.uint16) * 257
    yield from (Stored(name, data, grey) for name, data in _plain(grey, twelve, full))
    yield from (Stored(name, data, grey) for name, data in _odd(grey, twelve))
    yield from (Stored(name, data, grey) for name, data in _wrapped(grey, twelve))
    yield from _padded(grey, twelve)
    yield from _lossy(grey)


def _plain(grey: np.ndarray, twelve: np.ndarray, full: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Depths, signs, tables, windows, byte orders and transfer syntaxes."""
    yield "PNG, 8 bits", encoded(grey, "PNG")
    yield "PNG, 16 bits", png(full)
    yield "PNG, 12 bits in 16", png(twelve)
    yield "PNG, RGB of 16 bits", png(np.dstack([full] * 3))
    yield "PNG, RGB, 12 bits in 16", png(np.dstack([twelve] * 3))
    yield "PNG, RGBA, 12 bits in 16", png(np.dstack([twelve] * 3 + [np.full_like(twelve, 65535)]))
    yield "TIFF, 16 bits, big endian, LZW, tiles", tiff(full, byteorder=">", compression="lzw", tile=(64, 64))
    yield "TIFF, min is white, 16 bits", tiff(65535 - full, "miniswhite")
    yield "TIFF, min is white, float", tiff((1 - grey / 255).astype(np.float32), "miniswhite")
    yield (
        "TIFF, RGB of 16 bits, planar",
        tiff(np.ascontiguousarray(np.dstack([full] * 3).transpose(2, 0, 1)), "rgb", planarconfig="separate"),
    )
    yield "BigTIFF", tiff(grey, bigtiff=True)
    turned = np.ascontiguousarray(np.rot90(grey, 1))
    yield "TIFF, turned", tiff(turned, extratags=[(274, 3, 1, 6, True)])
    for bits in (8, 10, 12, 14, 16):
        for voi in ("none", "window", "lut", "modality lut"):
            yield f"DICOM, {bits} bits, {voi}", stored(grey, Way(bits=bits, voi=voi))
    yield "DICOM, MONOCHROME1, no window", stored(grey, Way(monochrome1=True))
    yield "DICOM, signed, no window", stored(grey, Way(signed=True))
    yield "DICOM, negative slope", stored(grey, Way(slope=-2, intercept=300, voi="window"))
    names = {
        ImplicitVRLittleEndian: "implicit",
        ExplicitVRBigEndian: "big endian",
        DeflatedExplicitVRLittleEndian: "deflated",
        RLELossless: "RLE",
        JPEG2000Lossless: "JPEG 2000",
        JPEGLSLossless: "JPEG-LS",
    }
    for syntax, name in names.items():
        yield f"DICOM, {name}", stored(grey, Way(voi="window", syntax=syntax))


def _odd(grey: np.ndarray, twelve: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Hot pixels, overlays, empty and impossible attributes."""
    hot = twelve.copy()
    hot[0, 0] = 65535
    yield "PNG, a hot pixel", png(hot)
    yield "DICOM, a hot pixel", dicom(hot, bits=16)
    odd = (grey / 255).astype(np.float32)
    odd[0, 0] = np.nan
    yield "TIFF, float, one NaN", tiff(odd)
    strip = np.where(np.arange(grey.shape[1]) < grey.shape[1] // 8, 0x8000, 0).astype(np.uint16)
    yield "DICOM, overlay in high bits", dicom(twelve | strip, bits=12)
    yield "DICOM, overlay in high bits, JPEG 2000", dicom(twelve | strip, JPEG2000Lossless, bits=12)
    yield "DICOM, empty window", dicom(twelve, bits=12, WindowCenter=None, WindowWidth=None)
    yield "DICOM, empty VOI sequence", dicom(twelve, bits=12, VOILUTSequence=Sequence([]), **WINDOW)
    yield "DICOM, VOI item without a table", dicom(twelve, bits=12, VOILUTSequence=Sequence([Dataset()]), **WINDOW)
    yield "DICOM, empty rescale", dicom(twelve, bits=12, RescaleSlope=None, RescaleIntercept=None, **WINDOW)
    for name, centre, width in (
        ("0", 0, 0),
        ("negative", 2048, -4096),
        ("outside", 30000, 100),
        ("16 bits", 32768, 65536),
    ):
        yield f"DICOM, window: {name}", dicom(twelve, bits=12, WindowCenter=centre, WindowWidth=width)
    yield "DICOM, table claims 16 bits", dicom(twelve, bits=12, VOILUTSequence=Sequence([lut(np.arange(4096))]))


def _wrapped(grey: np.ndarray, twelve: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Containers: what lies before, behind and around the image."""
    data = dicom(twelve, bits=12, **WINDOW)
    yield "DICOM, TIFF preamble", b"II*\0" + bytes(124) + data[128:]
    yield "DICOM, no preamble", data[132:]
    yield "DICOM, no file meta", data[data.index(struct.pack("<HH", 0x0008, 0x0016)) :]
    yield "DICOM, small letters", dicom(twelve, bits=12, PhotometricInterpretation="monochrome2", **WINDOW)
    stream = next(generate_frames(parsed(dicom(twelve, JPEG2000Lossless, bits=12)).PixelData, number_of_frames=1))
    yield (
        "DICOM, JP2 header",
        dicom(twelve, JPEG2000Lossless, bits=12, stream=_jp2(grey, stream.rstrip(b"\0")), **WINDOW),
    )
    yield "PNG, a line feed behind it", encoded(grey, "PNG") + b"\n"


def _jp2(grey: np.ndarray, codestream: bytes) -> bytes:
    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + name + content

    header = box(b"ihdr", struct.pack(">IIHBBBB", *grey.shape, 1, 11, 7, 0, 0)) + box(b"colr", b"\1\0\0\0\0\0\x11")
    start = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return start + box(b"jp2h", header) + box(b"jp2c", codestream)


def _padded(grey: np.ndarray, twelve: np.ndarray) -> Iterator[Stored]:
    """Padding at the top: it must be black."""
    rows = round(len(grey) * BORDER)
    bordered = grey.copy()
    bordered[:rows] = 0
    makers: dict[str, Callable[[], bytes]] = {
        "DICOM, padding": lambda: _with_padding(twelve.astype(np.int16), rows, -2000),
        "DICOM, padding range": lambda: _with_padding(
            twelve.astype(np.int16), rows, -2000, PixelPaddingRangeLimit=-1990
        ),
        "DICOM, padding of MONOCHROME1": lambda: _with_padding(
            4095 - twelve, rows, 65535, PhotometricInterpretation="MONOCHROME1"
        ),
    }
    for name, make in makers.items():
        yield Stored(name, make(), bordered)


def _with_padding(values: np.ndarray, rows: int, value: int, **tags: int | str) -> bytes:
    values = values.copy()
    values[:rows] = value
    return dicom(values, bits=16, PixelPaddingValue=value, **tags)


def _lossy(grey: np.ndarray) -> Iterator[Stored]:
    """JPEG changes grey values by itself: these must read as what plain decoding at full size gives."""
    jpeg = encoded(grey, "JPEG", quality=95)
    with Image.open(io.BytesIO(jpeg)) as image:
        plain = np.asarray(image)
    colour = Image.fromarray(grey).convert("RGB")
    phone = encoded(colour, "MPO", save_all=True, append_images=[colour.resize((80, 60))], quality=95)
    with_padding = dicom(grey, JPEGBaseline8Bit, stream=jpeg + b"\xff" * 3, WindowCenter=128, WindowWidth=256)
    for name, data in (
        ("JPEG", jpeg),
        ("JPEG, a line feed behind it", jpeg + b"\n"),
        ("JPEG, multi-picture", phone),
        ("DICOM, JPEG, padded by FF", with_padding),
    ):
        yield Stored(name, data, plain)
