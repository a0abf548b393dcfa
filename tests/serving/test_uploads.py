"""What is read as an image, and what is refused before a decoder sees it."""

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.data import imaging
from pipeline.serving import uploads
from pipeline.serving.problems import Problem
from tests.image_fixture import chest_dicom, encoded, hostile, png, scene

LIMITS = uploads.Limits(max_pixels=20_000_000, max_frames=1)
HOSTILE = hostile()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused(name: str) -> None:
    data, status = HOSTILE[name]
    with pytest.raises(Problem) as refusal:
        uploads.read(data, 64, LIMITS)
    assert refusal.value.status == status
    assert refusal.value.detail


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(scene(), exif=exif)


GOOD = {
    "grey JPEG": lambda: encoded(scene()),
    "RGB JPEG": lambda: encoded(Image.fromarray(scene()).convert("RGB")),
    "progressive JPEG": lambda: encoded(scene(), progressive=True),
    "JPEG turned by EXIF": _rotated,
    "grey PNG": lambda: encoded(scene(), "PNG"),
    "RGBA PNG": lambda: encoded(Image.fromarray(scene()).convert("RGBA"), "PNG"),
    "palette PNG": lambda: encoded(Image.fromarray(scene()).convert("P"), "PNG"),
    "one-bit PNG": lambda: encoded(Image.fromarray(scene()).convert("1"), "PNG"),
    "16-bit PNG": lambda: encoded(Image.fromarray(scene().astype(np.uint16) * 200), "PNG"),
    "grey TIFF": lambda: encoded(scene(), "TIFF"),
    "16-bit TIFF": lambda: encoded(Image.fromarray(scene().astype(np.uint16) * 200), "TIFF"),
    "packed TIFF": lambda: encoded(Image.fromarray(scene()).convert("RGB"), "TIFF", compression="tiff_lzw"),
    "JPEG padded with zeros": lambda: encoded(scene()) + bytes(7),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_file_becomes_the_pixels_of_imaging(name: str) -> None:
    data = GOOD[name]()
    image = uploads.read(data, 64, LIMITS)
    assert np.array_equal(image.pixels, imaging.read_pixels(data, 64))
    assert image.warnings == []


def test_interlaced_png_is_whole() -> None:
    # Pillow writes none: seven passes by hand, 5 x 3 grey pixels of value 9.
    passes = [(1, 1), (1, 1), (2, 0), (1, 1), (3, 1), (2, 2), (5, 1)]
    content = b"".join((b"\0" + b"\x09" * width) * count for width, count in passes)
    data = png(5, 3, content=zlib.compress(content), interlaced=1)
    with pytest.raises(Problem):
        uploads.read(png(5, 3, content=zlib.compress(content[:-1]), interlaced=1), 8, LIMITS)
    assert np.all(uploads.read(data, 8, LIMITS).pixels == 9)


def test_size_is_told_in_numbers() -> None:
    with pytest.raises(Problem) as refusal:
        uploads.read(encoded(scene(200, 260)), 64, uploads.Limits(max_pixels=1000, max_frames=1))
    assert refusal.value.facts == {"pixels": 52_000, "limit": 1000}


SEEDS = {
    "JPEG": encoded(scene(40, 50)),
    "PNG": encoded(scene(40, 50), "PNG"),
    "TIFF": encoded(scene(40, 50), "TIFF", compression="tiff_lzw"),
    "DICOM": chest_dicom(scene(40, 50)),
}


@pytest.mark.parametrize("kind", SEEDS)
@settings(deadline=None)
@given(edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=6), cut=st.floats(0, 1))
def test_mutated_file_is_read_or_refused(kind: str, edits: list[tuple[float, bytes]], cut: float) -> None:
    data = bytearray(SEEDS[kind])
    for place, content in edits:
        start = int(place * len(data))
        data[start : start + len(content)] = content
    if cut < 0.3:
        data = data[: int(len(data) * cut / 0.3)]
    try:
        pixels = uploads.read(bytes(data), 16, LIMITS).pixels
    except Problem as refusal:
        assert 400 <= refusal.status < 500
    else:
        assert pixels.shape == (16, 16)
        assert pixels.dtype == np.uint8


@pytest.mark.skipif("CXR_DATA" not in os.environ, reason="CXR_DATA names no folder with the real images")
def test_every_kind_of_real_image_is_read() -> None:
    images = sorted(Path(os.environ["CXR_DATA"]).rglob("*.jpeg"))[::40]
    assert images
    for path in images:
        assert uploads.read(path.read_bytes(), 64, LIMITS).pixels.shape == (64, 64)


def test_nothing_of_the_upload_is_in_a_refusal() -> None:
    with pytest.raises(Problem) as refusal:
        uploads.read(b"Secret^Name" * 50, 64, LIMITS)
    assert "Secret" not in refusal.value.detail
    assert b"Secret" not in bytes(refusal.value.response().body)
