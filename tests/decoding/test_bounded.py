"""What may be decoded where nothing can end it: files whose headers bound what they cost."""

import contextlib
import struct
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless

from pipeline.decoding.errors import Unbounded, UnreadableImage
from pipeline.decoding.limits import Limits
from pipeline.decoding.reader import decode
from tests.image_fixture import chest_dicom, encoded, scene

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
    "DICOM": chest_dicom(scene(10, 10)),
    "DICOM, JPEG 2000": chest_dicom(scene(40, 50), JPEG2000Lossless),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_headers_bound_it(name: str) -> None:
    assert decode(BOUNDED[name], 64, LIMITS).image.mode == "L"


@pytest.mark.parametrize("name", UNBOUNDED)
def test_it_is_left_to_who_can_end_it(name: str) -> None:
    with pytest.raises(Unbounded):
        decode(UNBOUNDED[name], 64, LIMITS)
    assert decode(UNBOUNDED[name], 64, replace(LIMITS, max_samples=None)).image.mode == "L"


JPEG = encoded(GREY)
SCAN = JPEG.index(b"\xff\xda") + 2 + int.from_bytes(JPEG[JPEG.index(b"\xff\xda") + 2 :][:2], "big")
RUNS = {
    "in the scan": JPEG[: SCAN + 2] + b"\xff" * 2_000_000 + b"\x00" + JPEG[SCAN + 2 :],
    "before a marker": JPEG[:2] + b"\xff" * 20_000_000 + JPEG[2:],
    "before every marker": b"".join((JPEG[:2], (b"\xff" * 60_000 + b"\xff\xfe\0\2") * 700, JPEG[2:])),
    "as the scan": JPEG[:SCAN] + b"\xff" * 2_000_000 + b"\xd9",
    "of markers in the scan": JPEG[: SCAN + 2] + b"\xff\xd0" * 2_000_000 + JPEG[SCAN + 2 :],
}


def test_many_small_segments_cost_little() -> None:
    """Pillow joins the EXIF segments of a file one by one: twenty thousand would copy eighty gigabytes."""
    segment = b"\xff\xe1" + struct.pack(">H", 2 + 6 + 390) + b"Exif\0\0" + bytes(390)
    for count in (500, 20_000):
        began = time.process_time()
        with contextlib.suppress(UnreadableImage):
            decode(JPEG[:2] + segment * count + JPEG[2:], 64, Limits(max_pixels=1_000_000))
        assert time.process_time() - began < 1


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_marker_bytes_costs_its_length(name: str) -> None:
    """A run of a hundred thousand cost a minute where its length counted squared."""
    began = time.process_time()
    with contextlib.suppress(UnreadableImage):
        decode(RUNS[name], 64, Limits(max_pixels=1_000_000))
    assert time.process_time() - began < 1
