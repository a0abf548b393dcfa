"""What a client uploaded, as pixels for the network and as an image for people; a refusal becomes an answer."""

from pipeline.data import imaging
from pipeline.data.imaging import GreyImage
from pipeline.decoding.errors import UnreadableImage
from pipeline.decoding.limits import MEGABYTE, Limits
from pipeline.serving.preview import preview
from pipeline.serving.problems import Problem
from pipeline.serving.settings import Serve


def limits_of(serve: Serve) -> Limits:
    """The limits of one upload, as the settings have them."""
    return Limits(serve.max_pixels, serve.max_frames, int(serve.max_metadata_megabytes * MEGABYTE))


def read(data: bytes, side: int, limits: Limits) -> GreyImage:
    """Decode an upload.

    Raises:
        Problem: 415 not a type that is read, 413 too many pixels, frames or metadata, 422 cannot be decoded.
    """
    try:
        return imaging.read_upload(data, side, limits)
    except UnreadableImage as refusal:
        raise Problem.of(refusal) from None


def show(data: bytes, limits: Limits) -> bytes:
    """The image as people look at it: see `preview`.

    Raises:
        Problem: as for `read`.
    """
    try:
        return preview(data, limits)
    except UnreadableImage as refusal:
        raise Problem.of(refusal) from None
