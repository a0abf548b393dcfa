"""What may be decoded where nothing can end it: files whose headers bound what they cost."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless

from pipeline.decoding.errors import Unbounded
from pipeline.decoding.limits import Limits
from pipeline.decoding.reader import decode
from tests.film_fixture import encoded, film, scene

LIMITS = Limits(max_pixels=1_000_000, max_samples=200_000)
GREY = scene(200, 260)  # 52,000 pixels
COLOUR = Image.fromarray(GREY).convert("RGB")
BOUNDED = {
    "grey JPEG": encoded(GREY),
    "RGB JPEG": encoded(COLOUR),
    "small progressive JPEG": encoded(scene(40, 50), progressive=True),
    "small PNG": encoded(scene(100, 200), "PNG"),
    "palette PNG": encoded(Image.fromarray(scene(100, 200)).convert("P"), "PNG"),
}
UNBOUNDED = {
    "progressive JPEG": encoded(COLOUR, progressive=True),
    "PNG with alpha": encoded(COLOUR.convert("RGBA"), "PNG"),
    "16-bit PNG": encoded(Image.fromarray(scene(10, 10).astype(np.uint16) * 200), "PNG"),
    "TIFF": encoded(scene(10, 10), "TIFF"),
    "DICOM": film(scene(10, 10)),
    "DICOM, JPEG 2000": film(scene(40, 50), JPEG2000Lossless),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_headers_bound_it(name: str) -> None:
    assert decode(BOUNDED[name], 64, LIMITS).image.mode == "L"


@pytest.mark.parametrize("name", UNBOUNDED)
def test_it_is_left_to_who_can_end_it(name: str) -> None:
    with pytest.raises(Unbounded):
        decode(UNBOUNDED[name], 64, LIMITS)
    assert decode(UNBOUNDED[name], 64, replace(LIMITS, max_samples=None)).image.mode == "L"
