"""An upload as people look at it."""

import io

from PIL import Image

from pipeline.decoding.limits import Limits
from pipeline.decoding.reader import decode

SHOWN = 1600  # pixels of the longer side


def preview(data: bytes, limits: Limits) -> bytes:
    """A grey PNG of an image in its own proportions, turned as EXIF says, at most 1600 pixels long.

    Raises:
        UnreadableImage: as for `decode`.
    """
    grey = decode(data, SHOWN, limits).image
    factor = min(1, SHOWN / max(grey.size))
    size = (max(1, round(grey.width * factor)), max(1, round(grey.height * factor)))
    stream = io.BytesIO()
    grey.resize(size, Image.Resampling.BILINEAR).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
