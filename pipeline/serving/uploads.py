"""From the bytes of an upload to pixels: its type by magic bytes, its size before it is decoded, then imaging."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.data import imaging
from pipeline.serving.problems import Problem

MAGIC = {"JPEG": (b"\xff\xd8\xff",), "PNG": (b"\x89PNG\r\n\x1a\n",), "TIFF": (b"II*\x00", b"MM\x00*")}


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
    check_size(data, kind, limits)
    try:
        return Picture(imaging.read_pixels(data, side), [])
    except imaging.UnreadablePicture:
        raise Problem(422, "undecodable", f"the {kind} file cannot be decoded to its end") from None


def sniff(data: bytes) -> str:
    """The type that the first bytes show; the client's word counts for nothing."""
    for kind, starts in MAGIC.items():
        if data.startswith(starts):
            return kind
    raise Problem(415, "unsupported_type", "the file is no JPEG, PNG or TIFF picture and no DICOM file")


def check_size(data: bytes, kind: str, limits: Limits) -> None:
    """Read width, height and frames from the header and refuse what is too large."""
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            width, height = image.size
            frames = getattr(image, "n_frames", 1)
    except Exception:
        raise Problem(422, "undecodable", f"the header of the {kind} file cannot be read") from None
    if width * height > limits.max_pixels:
        raise Problem(
            413,
            "too_many_pixels",
            f"{width} x {height} pixels are {width * height}; at most {limits.max_pixels} are read",
            pixels=width * height,
            limit=limits.max_pixels,
        )
    if frames > limits.max_frames:
        raise Problem(
            413,
            "too_many_frames",
            f"{frames} frames; at most {limits.max_frames}",
            frames=frames,
            limit=limits.max_frames,
        )
