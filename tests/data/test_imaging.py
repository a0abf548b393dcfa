import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.data.imaging import read_pixels, resize
from pipeline.decoding.errors import UnreadableImage

SIDE = 32


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def gradient(height=60, width=90):
    return (np.linspace(0, 255, width)[None] * np.ones((height, 1))).astype(np.uint8)


def test_bytes_and_path_are_one_way(tmp_path):
    data = encoded(Image.fromarray(gradient()), "JPEG")
    (tmp_path / "a.jpeg").write_bytes(data)
    assert np.array_equal(read_pixels(data, SIDE), read_pixels(tmp_path / "a.jpeg", SIDE))


def test_grey_rgb_and_rgba_agree():
    grey = Image.fromarray(gradient())
    expected = read_pixels(encoded(grey), SIDE)
    assert expected.shape == (SIDE, SIDE)
    assert expected.dtype == np.uint8
    for mode in ("RGB", "RGBA", "LA"):
        assert np.abs(read_pixels(encoded(grey.convert(mode)), SIDE).astype(int) - expected).max() <= 1, mode


def test_transparent_pixels_are_black():
    image = Image.new("RGBA", (40, 40), (255, 255, 255, 0))
    assert read_pixels(encoded(image), SIDE).max() == 0


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("top", [1023, 4095, 65535])
def test_deep_images_span_their_range(kind, top):
    deep = (gradient().astype(np.float64) / 255 * top).astype(np.uint16)
    shallow = read_pixels(encoded(Image.fromarray(gradient())), SIDE).astype(int)
    assert np.abs(read_pixels(encoded(Image.fromarray(deep), kind), SIDE) - shallow).max() <= 1


def test_a_flat_deep_image_is_black():
    assert read_pixels(encoded(Image.fromarray(np.full((50, 50), 900, np.uint16))), SIDE).max() == 0


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to display
    turned = read_pixels(encoded(Image.fromarray(gradient()), "JPEG", exif=exif), SIDE)
    assert turned[0].mean() < turned[-1].mean() - 100


def test_large_jpegs_keep_their_antialiasing():
    stripes = np.tile(np.array([0, 255], np.uint8), (1600, 800))
    assert 115 <= read_pixels(encoded(Image.fromarray(stripes), "JPEG", quality=95), SIDE).mean() <= 140
    checks = read_pixels(encoded(Image.fromarray(stripes), "JPEG", quality=95), SIDE)
    assert checks.std() < 10


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_bytes_that_are_no_image_are_refused(data):
    with pytest.raises(UnreadableImage):
        read_pixels(data, SIDE)


@given(st.integers(0, 2000))
@settings(max_examples=20)
def test_a_cut_image_is_refused(end):
    data = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80), dtype=np.uint8)), "JPEG")
    with pytest.raises(UnreadableImage):
        read_pixels(data[: min(end, len(data) - 200)], SIDE)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 255))
@settings(max_examples=30)
def test_a_flat_image_stays_flat_at_any_size(height, width, grey):
    assert (resize(np.full((height, width), grey, np.uint8), SIDE) == grey).all()
