"""One grey image stored in many ways: as a DICOM file of every kind, as a PNG or TIFF of every depth."""

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
LOSSLESS = (RLELossless, JPEG2000Lossless, JPEGLSLossless)
SECRET = "Secret^Name"


def scene(height: int = 60, width: int = 80, low: int = 0, high: int = 255, seed: int = 0) -> np.ndarray:
    """A smooth grey image with a little noise that reaches from `low` to `high`, uint8 [height, width]."""
    rows, columns = np.mgrid[0:height, 0:width]
    light = np.sin(columns / 13) * np.cos(rows / 17) + np.random.default_rng(seed).normal(0, 0.03, (height, width))
    light = (light - light.min()) / (light.max() - light.min())
    return np.rint(low + light * (high - low)).astype(np.uint8)


def dicom(
    pixels: np.ndarray,
    syntax: str = ExplicitVRLittleEndian,
    bits: int | None = None,
    stream: bytes | None = None,
    remove: tuple[str, ...] = (),
    **tags: Any,
) -> bytes:
    """A DICOM radiograph of a child of three: `pixels` as they are stored, `stream` the compressed frame if made elsewhere."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax in LOSSLESS else syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    data.PatientName, data.PatientAge = SECRET, "003Y"
    data.Modality, data.BodyPartExamined, data.ViewPosition = "CR", "CHEST", "AP"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    allocated = pixels.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored = allocated, bits or allocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    little = syntax != ExplicitVRBigEndian
    data.PixelData = pixels.astype(pixels.dtype.newbyteorder("<" if little else ">")).tobytes()
    data["PixelData"].VR = "OW" if allocated > 8 or syntax == ImplicitVRLittleEndian else "OB"
    for name, value in tags.items():
        put(data, name, value)
    if stream is not None:
        data.PixelData = encapsulate([stream])
        data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    elif syntax in LOSSLESS:
        _compress(data, syntax)
    for name in remove:
        delattr(data, name)
    return written(data, syntax)


def put(data: Dataset, name: str, value: Any) -> None:
    """Set an element; None makes it an empty one, of a plain type."""
    if value is None:
        data.add_new(name, dictionary_VR(name).split(" or ")[0], None)
    else:
        setattr(data, name, value)


def _compress(data: Dataset, syntax: str) -> None:
    """With the bits above BitsStored as they are: an encoder would cut them off, another program's would not."""
    stored, high = data.BitsStored, data.HighBit
    data.BitsStored, data.HighBit = data.BitsAllocated, data.BitsAllocated - 1
    data.set_original_encoding(False, True)
    data.compress(syntax, generate_instance_uid=False)
    data.BitsStored, data.HighBit = stored, high


def written(data: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The bytes of a data set."""
    target = io.BytesIO()
    pydicom.dcmwrite(
        target,
        data,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    return target.getvalue()


def parsed(data: bytes) -> Dataset:
    """The data set of a file."""
    return pydicom.dcmread(io.BytesIO(data))


def lut(entries: np.ndarray, first: int = 0, bits: int = 16, little_endian: bool = True) -> Dataset:
    """An item of a LUT sequence; `bits` is what it claims to hold."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    item.LUTData = entries.astype("<u2" if little_endian else ">u2").tobytes()
    item["LUTData"].VR = "OW"
    return item


@dataclass(frozen=True)
class Way:
    """How an image is stored in a DICOM file; each field is independent of the others."""

    bits: int = 12
    signed: bool = False
    monochrome1: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    voi: str = "none"  # or: window, exact, lut, modality lut
    claimed: int = 16  # bits that a LUT claims
    padding: int = 0  # rows that are padding
    overlay: bool = False  # in the bits above BitsStored
    syntax: str = ExplicitVRLittleEndian
    tags: dict[str, Any] = field(default_factory=dict)


def stored(grey: np.ndarray, way: Way) -> bytes:
    """A DICOM file that must read as the image, `way.padding` rows at its top black."""
    top = 2**way.bits - 1
    turned = way.monochrome1 != (way.slope < 0 and way.voi not in ("lut", "modality lut"))
    share = (255 - grey.astype(np.float64) if turned else grey.astype(np.float64)) / 255
    reserved = int(way.padding > 0)  # the lowest value is kept for padding
    levels = np.rint(reserved + share * (top - reserved)).astype(np.int64)
    levels[: way.padding] = 0
    lowest = -(2 ** (way.bits - 1)) if way.signed else 0
    values = levels + lowest
    tags: dict[str, Any] = {"PhotometricInterpretation": "MONOCHROME1" if way.monochrome1 else "MONOCHROME2"}
    if way.padding:
        tags["PixelPaddingValue"] = lowest
    tags |= _voi(way, lowest, top)
    kind = np.dtype(f"{'i' if way.signed else 'u'}{1 if way.bits <= 8 else 2}")
    pixels = values.astype(kind)
    if way.overlay and way.bits < 16 and kind.itemsize == 2:
        pixels = _with_overlay(pixels, way.bits)
    return dicom(pixels, way.syntax, way.bits, **(tags | way.tags))


def _voi(way: Way, lowest: int, top: int) -> dict[str, Any]:
    low, high = lowest, lowest + top
    little = way.syntax != ExplicitVRBigEndian
    if way.voi == "modality lut":
        return {"ModalityLUTSequence": Sequence([lut(np.arange(top + 1), low, way.claimed, little)])}
    if way.voi == "lut":
        return {"VOILUTSequence": Sequence([lut(np.arange(top + 1), low, way.claimed, little)])}
    tags: dict[str, Any] = {"RescaleSlope": way.slope, "RescaleIntercept": way.intercept}
    ends = sorted((low * way.slope + way.intercept, high * way.slope + way.intercept))
    middle, span = (ends[0] + ends[1]) / 2, ends[1] - ends[0]
    if way.voi == "window":
        tags |= {"WindowCenter": _decimal(middle + 0.5), "WindowWidth": _decimal(span + 1)}
    elif way.voi == "exact":
        tags |= {"WindowCenter": _decimal(middle), "WindowWidth": _decimal(span), "VOILUTFunction": "LINEAR_EXACT"}
    return tags


def _decimal(value: float) -> str:
    return f"{value:.9g}"


def _with_overlay(pixels: np.ndarray, bits: int) -> np.ndarray:
    """A strip of an overlay in the highest bit, which is no part of the image."""
    strip = np.where(np.arange(pixels.shape[1]) < 15, 1 << 15, 0).astype(np.uint16)
    mask = np.uint16(2**bits - 1)
    return ((pixels.view(np.uint16) & mask) | strip).view(pixels.dtype)


def png(channels: np.ndarray, *extra: bytes) -> bytes:
    """A PNG of 16 bits a channel, uint16 [height, width] or [height, width, 2 to 4]."""
    height, width = channels.shape[:2]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[1 if channels.ndim == 2 else channels.shape[2]]
    rows = channels.astype(">u2").reshape(height, -1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    packed = zlib.compress(body, 1)  # this costs more than all else where an image is stored in every kind
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def tiff(values: np.ndarray, photometric: str = "minisblack", **options: Any) -> bytes:
    """A TIFF by tifffile, which writes what it is told and inverts nothing."""
    target = io.BytesIO()
    tifffile.imwrite(target, values, photometric=photometric, metadata=None, **options)
    return target.getvalue()


def encoded(image: Image.Image | np.ndarray, kind: str = "JPEG", **options: Any) -> bytes:
    """The bytes of an image file, by Pillow."""
    target = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(target, kind, **options)
    return target.getvalue()
