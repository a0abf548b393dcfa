"""Where a file ends, what lies behind it, and what it may cost."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.decoding.errors import UnreadableImage
from pipeline.decoding.limits import Limits
from pipeline.decoding.reader import decode
from pipeline.decoding.signatures import sniff
from tests.image_storage import chunk, dicom, encoded, scene, tiff

LIMITS = Limits(20_000_000)
IMAGE = scene()
PAGE = b"<html><script>alert(1)</script></html>"
WHITE = [b"\n", b"\r\n", b" ", b"\t \n", b"\0" * 9, b"\xff", b"\xff\xff\n", b"\x1a"]


def refusal(data: bytes, limits: Limits = LIMITS) -> UnreadableImage:
    with pytest.raises(UnreadableImage) as told:
        decode(data, None, limits)
    return told.value


@pytest.mark.parametrize("tail", WHITE)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_white_space_and_fill_behind_an_image_are_no_second_file(kind: str, tail: bytes) -> None:
    data = encoded(IMAGE, kind)
    assert np.array_equal(decode(data + tail, None, LIMITS).image, decode(data, None, LIMITS).image)
    for second in (PAGE, b"PK\3\4", data, b"x"):
        assert refusal(data + tail + second).error == "polyglot"


def _phone(count: int) -> bytes:
    image = Image.fromarray(IMAGE).convert("RGB")
    return encoded(image, "MPO", save_all=True, append_images=[image.resize((40, 30))] * (count - 1), quality=95)


@pytest.mark.parametrize("tail", [b"", *WHITE])
@pytest.mark.parametrize("count", [2, 3])
def test_the_first_image_of_a_multi_picture_file_is_read(count: int, tail: bytes) -> None:
    shown = np.asarray(decode(_phone(count) + tail, None, LIMITS).image)
    assert shown.shape == IMAGE.shape
    assert np.abs(shown.astype(int) - IMAGE).mean() < 3
    assert refusal(_phone(count) + tail + PAGE).error == "polyglot"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (encoded(IMAGE, "GIF"), "GIF"),
        (encoded(IMAGE, "BMP"), "BMP"),
        (encoded(IMAGE, "WEBP"), "WEBP"),
        (encoded(IMAGE, "JPEG2000"), "JPEG 2000"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\3\4" + bytes(40), "ZIP"),
        (b"", "empty"),
        (PAGE, "no known image type"),
    ],
)
def test_a_type_that_is_not_read_is_named(data: bytes, name: str) -> None:
    told = refusal(data)
    assert told.error == "unsupported_type"
    assert name in told.detail
    assert "JPEG, PNG, TIFF and DICOM" in told.detail


def test_an_unusual_jpeg_is_named() -> None:
    jpeg = bytearray(encoded(IMAGE))
    frame = jpeg.index(b"\xff\xc0")
    for code, precision, word in ((0xC1, 12, "12 bits"), (0xC3, 8, "lossless"), (0xF7, 8, "JPEG-LS")):
        other = bytearray(jpeg)
        other[frame + 1], other[frame + 4] = code, precision
        assert word in refusal(bytes(other)).detail


@pytest.mark.parametrize(
    "start", [b"MZ", b"\x7fELF", b"#!/bin/sh\n", b"<html>", b"%PDF-1.7", b"PK\3\4", b"\xff\xd8\xff\xe0", b"GIF89a"]
)
def test_a_program_or_document_in_the_preamble_is_refused(start: bytes) -> None:
    data = dicom(IMAGE)
    assert refusal(start + data[len(start) :]).error == "polyglot"


@pytest.mark.parametrize(
    "first", [b"\x08\0\5\0CS\x0a\0", b"\x08\0\5\0\x0a\0\0\0", b"\0\x08\0\5CS\0\x0a", b"\2\0\0\0UL\4\0"]
)
def test_dicom_without_a_preamble_is_known_by_its_first_element(first: bytes) -> None:
    assert sniff(first + bytes(60)) == "DICOM"


def test_no_other_file_is_taken_for_dicom() -> None:
    for data in (b"\x08\0" + bytes(100)[:2] + b"\xff" * 100, b"\2\0" * 30 + b"\xff", b"\0\x08zz" * 20, b"text " * 20):
        with pytest.raises(UnreadableImage):
            sniff(data)


def test_what_one_limit_allows_the_others_allow() -> None:
    side = 500
    limits = Limits(side * side, 1, 10_000)
    pixels = np.asarray(Image.fromarray(IMAGE).resize((side, side))).astype(np.uint16) * 16
    for data in (dicom(pixels, bits=12), tiff(pixels), dicom(pixels, "1.2.840.10008.1.2.1.99", bits=12)):
        assert len(data) <= limits.max_file
        assert decode(data, None, limits).image.size == (side, side)
    larger = dicom(np.zeros((side, side + 1), np.uint16))
    assert refusal(larger, limits).facts == {"pixels": side * (side + 1), "limit": side**2}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_metadata_has_a_budget_of_its_own(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a" * 30_000
    data = encoded(IMAGE, kind, exif=exif)
    assert decode(data, None, Limits(20_000_000, 1, 40_000)).image.size == (80, 60)
    told = refusal(data, Limits(20_000_000, 1, 20_000))
    assert told.error == "too_much_metadata"
    assert "max_metadata_megabytes" in told.detail


def test_a_thumbnail_beside_a_tiff_is_no_second_image() -> None:
    target = io.BytesIO()
    with tifffile.TiffWriter(target) as writer:
        writer.write(IMAGE, photometric="minisblack", metadata=None)
        writer.write(IMAGE[::4, ::4], photometric="minisblack", subfiletype=1, metadata=None)
    assert np.array_equal(decode(target.getvalue(), None, LIMITS).image, IMAGE)
    pages = tiff(np.stack([IMAGE, IMAGE]))
    assert refusal(pages).error == "too_many_frames"


def test_an_endless_chain_of_thumbnails_ends() -> None:
    data = bytearray(tiff(IMAGE, subfiletype=1))
    place = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, place)[0]
    struct.pack_into("<I", data, place + 2 + 12 * count, place)
    assert refusal(bytes(data)).error == "too_much_metadata"


def test_an_animation_of_one_frame_is_an_image() -> None:
    start = encoded(IMAGE, "PNG")
    for frames in (1, 2):
        control = chunk(b"acTL", struct.pack(">II", frames, 0))
        data = start[:33] + control + start[33:]
        if frames == 1:
            assert np.array_equal(decode(data, None, LIMITS).image, IMAGE)
        else:
            assert "2 frames" in refusal(data).detail


@pytest.mark.parametrize(("depth", "colour"), [(3, 0), (16, 3), (4, 2), (8, 1)])
def test_a_depth_that_no_png_has_is_named(depth: int, colour: int) -> None:
    data = bytearray(encoded(IMAGE, "PNG"))
    data[24:26] = depth, colour
    assert "impossible header" in refusal(bytes(data)).detail


def test_a_directory_that_points_into_nothing_is_broken() -> None:
    data = bytearray(tiff(IMAGE, bigtiff=True))
    data[8:16] = struct.pack("<Q", 2**63)
    assert refusal(bytes(data)).error == "undecodable"
