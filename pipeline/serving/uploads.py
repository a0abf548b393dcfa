"""From the bytes of an upload to pixels: its type by magic bytes, its size before it is decoded, then imaging."""

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pipeline.data import imaging
from pipeline.serving import containers
from pipeline.serving.problems import Problem

warnings.filterwarnings("ignore", module="PIL")  # what it says of odd values may quote them
Image.MAX_IMAGE_PIXELS = None  # the limit is ours, and answered with numbers
SHOWN = 1600
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
TILE_WIDTH, TILE_LENGTH = 322, 323

if TYPE_CHECKING:
    from pipeline.serving.dicom import Film


@dataclass(frozen=True)
class Limits:
    """Of one picture: pixels and frames."""

    max_pixels: int
    max_frames: int


@dataclass(frozen=True)
class Picture:
    """Pixels uint8 [side, side], and what should be said about where they come from."""

    pixels: np.ndarray
    warnings: list[str]


def read(data: bytes, side: int, limits: Limits) -> Picture:
    """Decode an upload.

    Raises:
        Problem: 415 not a type that is read, 413 too many pixels or frames, 422 cannot be decoded.
    """
    kind = sniff(data)
    if kind == "DICOM":
        film = _film(data, limits)
        return Picture(imaging.resize(film.grey, side), film.warnings)
    containers.check(kind, data, limits.max_frames)
    _check_size(data, kind, limits.max_pixels)
    if kind == "PNG":
        containers.check_png_rows(data)
    try:
        return Picture(imaging.read_pixels(data, side), [])
    except (imaging.UnreadablePicture, MemoryError):
        raise Problem(422, "undecodable", f"the {kind} file cannot be decoded to its end") from None


def show(data: bytes, limits: Limits) -> bytes:
    """The picture as people look at it: a grey PNG in its own proportions, turned as EXIF says, at most 1600 pixels long.

    Raises:
        Problem: as for `read`.
    """
    kind = sniff(data)
    if kind == "DICOM":
        grey = Image.fromarray(_film(data, limits).grey)
        width, height = grey.size
    else:
        square = read(data, SHOWN, limits).pixels
        grey = Image.fromarray(square)
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            width, height = image.size
            if image.getexif().get(ORIENTATION) in SIDEWAYS:
                width, height = height, width
    factor = min(1, SHOWN / max(width, height))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    stream = io.BytesIO()
    grey.resize(size, Image.Resampling.BILINEAR).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _film(data: bytes, limits: Limits) -> "Film":
    from pipeline.serving import dicom  # nearly a second, which the server's parent process need not spend

    return dicom.read(data, limits.max_pixels)


def sniff(data: bytes) -> str:
    """The type that the first bytes show; the client's word counts for nothing."""
    if data[128:132] == b"DICM":
        if data[:128].startswith(
            (*containers.TIFF_STARTS, containers.JPEG_START, b"\x89PNG", b"MZ", b"\x7fELF", b"#!", b"<", b"%PDF", b"PK")
        ):
            raise Problem(415, "polyglot", "the DICOM file is a file of another type as well")
        return "DICOM"
    if data.startswith(containers.JPEG_START):
        return "JPEG"
    if data.startswith(containers.PNG_SIGNATURE):
        return "PNG"
    if data.startswith(containers.TIFF_STARTS):
        return "TIFF"
    raise Problem(415, "unsupported_type", "the file is no JPEG, PNG or TIFF picture and no DICOM file")


def _check_size(data: bytes, kind: str, limit: int) -> None:
    """Read width and height (of a TIFF's tiles too) from the header and refuse what is too large."""
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            width, height = image.size
            tags = getattr(image, "tag_v2", {})
            tile = int(tags.get(TILE_WIDTH, 1)) * int(tags.get(TILE_LENGTH, 1))
    except Exception:  # noqa: BLE001 - a decoder that meets hostile bytes may raise anything
        raise Problem(422, "undecodable", f"the header of the {kind} file cannot be read") from None
    pixels = max(width * height, tile)
    if pixels > limit:
        raise Problem(
            413,
            "too_many_pixels",
            f"{width} x {height} picture: {pixels} pixels; at most {limit} are read",
            pixels=pixels,
            limit=limit,
        )
