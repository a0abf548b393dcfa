"""What a client uploaded, as pixels for the network and as an image for people; a refusal becomes an answer."""

import io

from PIL import Image

from pipeline.data import imaging
from pipeline.data.imaging import Picture
from pipeline.decoding.errors import UnreadableImage
from pipeline.decoding.limits import MEGABYTE, Limits
from pipeline.decoding.reader import decode
from pipeline.serving.problems import Problem
from pipeline.serving.settings import Serve

SHOWN = 1600  # pixels of the longer side


def limits_of(serve: Serve) -> Limits:
    """The limits of one upload, as the settings have them."""
    return Limits(serve.max_pixels, serve.max_frames, int(serve.max_metadata_megabytes * MEGABYTE))


def read(data: bytes, side: int, limits: Limits) -> Picture:
    """Decode an upload.

    Raises:
        Problem: 415 not a type that is read, 413 too many pixels, frames or metadata, 422 cannot be decoded.
    """
    try:
        return imaging.read_upload(data, side, limits)
    except UnreadableImage as refusal:
        raise Problem.of(refusal) from None


def show(data: bytes, limits: Limits) -> bytes:
    """The picture as people look at it: a grey PNG in its own proportions, turned as EXIF says, at most 1600 pixels long.

    Raises:
        Problem: as for `read`.
    """
    try:
        grey = decode(data, SHOWN, limits).image
    except UnreadableImage as refusal:
        raise Problem.of(refusal) from None
    factor = min(1, SHOWN / max(grey.size))
    size = (max(1, round(grey.width * factor)), max(1, round(grey.height * factor)))
    stream = io.BytesIO()
    grey.resize(size, Image.Resampling.BILINEAR).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
