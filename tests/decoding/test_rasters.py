"""PNG, TIFF and JPEG files of every depth and layout, against tifffile and OpenCV, and against the image that was stored."""

import io
import itertools
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom.uid import JPEG2000Lossless

from pipeline.decoding.errors import UnreadableImage
from pipeline.decoding.limits import Limits
from pipeline.decoding.png_structure import ADAM7
from pipeline.decoding.reader import decode
from pipeline.serving import uploads
from tests.image_storage import chunk, dicom, encoded, png, scene, tiff

LIMITS = Limits(20_000_000)
IMAGE = scene()
FULL = IMAGE.astype(np.uint16) * 257  # all of 16 bits
TWELVE = IMAGE.astype(np.uint16) * 16 + 7
ORIENTATION = 274
TURNED = {  # how an image is stored whose orientation is the key
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: np.swapaxes(image, 0, 1),
    6: lambda image: np.rot90(image, 1),
    7: lambda image: np.rot90(np.swapaxes(image, 0, 1), 2),
    8: lambda image: np.rot90(image, 3),
}
CUSTOMARY = {"minisblack", "miniswhite"}


def grey(data: bytes) -> np.ndarray:
    return np.asarray(decode(data, None, LIMITS).image)


def is_image(data: bytes, image: np.ndarray = IMAGE) -> bool:
    shown = grey(data)
    return shown.shape == image.shape and int(np.abs(shown.astype(int) - image).max()) <= 1


def by_opencv(data: bytes, top: float) -> np.ndarray:
    """OpenCV's grey values from 0 to 255; `top` is white."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).astype(np.float64)
    if values.ndim == 3:
        values = values[..., :3] @ np.array([7471, 38470, 19595]) / 65536  # OpenCV has blue first
    return np.rint(255 * values / top)


def colours(values: np.ndarray, count: int) -> np.ndarray:
    """Grey values as channels: grey and alpha, colours, or colours and alpha; alpha is opaque."""
    opaque = 1.0 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    alpha = np.full_like(values, opaque)
    return np.dstack([values] * (count - 1 + count % 2) + [alpha] * (1 - count % 2))


# --- PNG


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize(("values", "bits"), [(FULL, 16), (TWELVE, 12), (IMAGE.astype(np.uint16) * 4 + 1, 10)])
def test_a_png_of_16_bits_keeps_both_bytes(values: np.ndarray, bits: int, count: int) -> None:
    data = png(values if count == 1 else colours(values, count))
    assert is_image(data)
    warned = decode(data, None, LIMITS).warnings
    assert warned == (
        [] if bits == 16 else [f"the image uses {bits} of its 16 bits: its grey range was taken from its values"]
    )


def test_colours_of_16_bits_weigh_as_in_opencv() -> None:
    random = np.random.default_rng(0)
    channels = random.integers(0, 65536, (*IMAGE.shape, 3), dtype=np.uint16)
    channels[0, 0], channels[0, 1] = 0, 65535
    for data in (png(channels), tiff(channels, "rgb"), tiff(channels, "rgb", byteorder=">", compression="lzw")):
        assert np.abs(grey(data) - by_opencv(data, 65535)).max() <= 1
        assert decode(data, None, LIMITS).warnings == []


def test_deep_alpha_lies_on_black() -> None:
    channels = colours(FULL, 4)
    channels[:30, :, 3] = 0
    channels[30:40, :, 3] = 32768
    expected = IMAGE.astype(float)
    expected[:30] = 0
    expected[30:40] /= 2
    assert np.abs(grey(png(channels)) - expected).max() <= 1
    assert np.abs(grey(tiff(channels, "rgb", extrasamples=["unassalpha"])) - expected).max() <= 1


def test_a_transparent_value_is_black() -> None:
    values = FULL.copy()
    values[:10] = 40_001
    expected = IMAGE.copy()
    expected[:10] = 0
    assert is_image(png(values, chunk(b"tRNS", (40_001).to_bytes(2, "big"))), expected)
    assert is_image(png(colours(values, 3), chunk(b"tRNS", (40_001).to_bytes(2, "big") * 3)), expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_value_of_few_bits_is_black(depth: int) -> None:
    """It is written as it is stored, not stretched to 8 bits."""
    stored = IMAGE >> (8 - depth)
    hidden = int(stored[30, 30])
    bits = np.unpackbits(stored[..., None], axis=2)[..., 8 - depth :].reshape(len(stored), -1)
    body = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *IMAGE.shape[::-1], depth, 0, 0, 0, 0))
    transparent = chunk(b"tRNS", struct.pack(">H", hidden))
    data = b"\x89PNG\r\n\x1a\n" + head + transparent + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    expected = np.rint(stored * (255 / (2**depth - 1)))
    assert is_image(data, np.where(stored == hidden, 0, expected))


def test_an_interlaced_png_of_16_bits_is_read() -> None:
    channels = colours(FULL, 3).astype(">u2")
    body = b""
    for left, top, right, down in ADAM7:
        rows = channels[top::down, left::right]
        body += b"".join(b"\0" + row.tobytes() for row in rows) if rows.size else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *IMAGE.shape[::-1], 16, 2, 0, 0, 1))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    assert is_image(data)


def test_a_png_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    for orientation, turn in TURNED.items():
        exif[ORIENTATION] = orientation
        assert is_image(encoded(np.ascontiguousarray(turn(IMAGE)), "PNG", exif=exif))
        assert is_image(encoded(np.ascontiguousarray(turn(FULL)), "PNG", exif=exif))


# --- TIFF

TYPES = {
    "uint8": IMAGE,
    "int8": (IMAGE.astype(int) - 128).astype(np.int8),
    "uint16": FULL,
    "int16": (FULL.astype(int) - 32768).astype(np.int16),
    "uint32": IMAGE.astype(np.uint32) * 16_843_009,
    "int32": (IMAGE.astype(np.int64) * 16_843_009 - 2**31).astype(np.int32),
    "float32": (IMAGE / 255).astype(np.float32),
}
LAYOUTS = [{}, {"tile": (32, 32)}, {"rowsperstrip": 16}]


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("photometric", sorted(CUSTOMARY))
@pytest.mark.parametrize("kind", TYPES)
def test_a_grey_tiff_reads_alike_in_every_type_layout_and_orientation(
    kind: str, photometric: str, byteorder: str
) -> None:
    values = TYPES[kind]
    if photometric == "miniswhite":
        values = {"u": np.iinfo(values.dtype).max if kind != "float32" else 0, "i": -1, "f": 1}[
            values.dtype.kind
        ] - values
    for compression, layout, big in itertools.product((None, "zlib", "lzw", "packbits"), LAYOUTS, (False, True)):
        data = tiff(
            values.astype(TYPES[kind].dtype),
            photometric,
            byteorder=byteorder,
            compression=compression,
            bigtiff=big,
            **layout,
        )
        assert is_image(data), (compression, layout, big)
        stored = tifffile.imread(io.BytesIO(data))
        assert np.array_equal(stored, values)  # tifffile says that the file is what it should be
    for orientation, turn in TURNED.items():
        turned = np.ascontiguousarray(turn(values.astype(TYPES[kind].dtype)))
        data = tiff(turned, photometric, byteorder=byteorder, extratags=[(ORIENTATION, 3, 1, orientation, True)])
        assert is_image(data), orientation


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("alpha", [None, "unassalpha", "assocalpha", "unspecified"])
@pytest.mark.parametrize("depth", [8, 16])
def test_a_colour_tiff_reads_alike_in_every_layout(depth: int, alpha: str | None, planar: str, byteorder: str) -> None:
    channels = colours(IMAGE if depth == 8 else FULL, 4 if alpha else 3)
    channels = channels if planar == "contig" else np.ascontiguousarray(channels.transpose(2, 0, 1))
    options = {"extrasamples": [alpha]} if alpha else {}
    for compression, layout, big in itertools.product((None, "zlib", "lzw"), LAYOUTS, (False, True)):
        options |= {"byteorder": byteorder, "compression": compression, "bigtiff": big, "planarconfig": planar}
        assert is_image(tiff(channels, "rgb", **options, **layout)), (compression, layout, big)


def test_signed_colours_in_planes_may_have_alpha() -> None:
    """Pillow widens signed numbers: what is opaque is the largest number of the type in the file."""
    values = TYPES["int16"]
    channels = np.ascontiguousarray(colours(values, 4).transpose(2, 0, 1))
    assert is_image(tiff(channels, "rgb", planarconfig="separate", extrasamples=["unassalpha"]))


@pytest.mark.parametrize("alpha", ["unassalpha", "assocalpha", "unspecified"])
@pytest.mark.parametrize("depth", [8, 16])
def test_grey_and_alpha_in_planes_are_read(depth: int, alpha: str) -> None:
    planes = np.ascontiguousarray(colours(IMAGE if depth == 8 else FULL, 2).transpose(2, 0, 1))
    assert is_image(tiff(planes, planarconfig="separate", extrasamples=[alpha]))
    planes[0] = ~planes[0]
    negative = tiff(planes, "miniswhite", planarconfig="separate", extrasamples=[alpha])
    if alpha == "unspecified":
        assert is_image(negative)
    else:
        with pytest.raises(UnreadableImage, match=r"photometric 0.*not read"):
            decode(negative, None, LIMITS)


@pytest.mark.parametrize("predictor", ["uint8", "uint16", "float32"])
def test_a_predictor_is_undone(predictor: str) -> None:
    for compression in ("zlib", "lzw"):
        assert is_image(tiff(TYPES[predictor], compression=compression, predictor=True))


def test_a_tiff_that_does_not_say_black_or_white_is_refused() -> None:
    data = bytearray(tiff(IMAGE))
    place = data.index(struct.pack("<HHI", 262, 3, 1))
    struct.pack_into("<H", data, place, 263)
    with pytest.raises(UnreadableImage, match="PhotometricInterpretation"):
        decode(bytes(data), None, LIMITS)


@pytest.mark.parametrize("values", [(IMAGE / 255), (IMAGE / 255).astype(np.float16), colours(TYPES["float32"], 3)])
def test_a_layout_that_is_not_read_is_named(values: np.ndarray) -> None:
    with pytest.raises(UnreadableImage, match=rf"{values.dtype.itemsize * 8} bits \(floating point"):
        decode(tiff(values, "rgb" if values.ndim == 3 else "minisblack"), None, LIMITS)


def test_colours_and_compressions_that_are_not_read_are_named() -> None:
    for data, word in (
        (encoded(Image.fromarray(np.dstack([IMAGE] * 3), "LAB"), "TIFF"), "photometric 8"),
        (tiff(colours(IMAGE, 3), "rgb", compression="webp"), "compression 50001"),
        (tiff(IMAGE, compression="jpeg2000"), "compression 34712"),
        (tiff(np.stack([IMAGE] * 3), "ycbcr", planarconfig="separate"), "photometric 6"),
    ):
        with pytest.raises(UnreadableImage, match=rf"{word}.*not read"):
            decode(data, None, LIMITS)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e30, -9999.0])
@pytest.mark.parametrize("photometric", sorted(CUSTOMARY))
def test_odd_numbers_blacken_nothing(photometric: str, odd: float) -> None:
    values = (IMAGE / 255).astype(np.float32)
    values = 1 - values if photometric == "miniswhite" else values
    values[0, 0] = odd
    decoded = decode(tiff(values.astype(np.float32), photometric), None, LIMITS)
    assert np.abs(np.asarray(decoded.image).astype(int) - IMAGE).ravel()[1:].max() <= 1
    assert decoded.warnings


def test_an_image_of_no_number_at_all_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="finite"):
        decode(tiff(np.full((20, 20), np.nan, np.float32)), None, LIMITS)


@pytest.mark.parametrize("factor", [1, 255, 4095, 65535, 1e-3])
def test_the_scale_of_floating_point_does_not_matter(factor: float) -> None:
    assert is_image(tiff((IMAGE / 255 * factor).astype(np.float32)))


@pytest.mark.parametrize(("low", "high"), [(60, 230), (77, 192), (143, 255)])
def test_a_dim_image_that_uses_all_its_bits_stays_dim(low: int, high: int) -> None:
    """The same tones as in 8 bits: PNG and TIFF say what black and white are."""
    dim = scene(low=low, high=high)
    deep, real = dim.astype(np.uint16) * 257, (dim / 255).astype(np.float32)
    for data in (png(deep), png(colours(deep, 3)), tiff(deep), tiff(colours(deep, 3), "rgb"), tiff(real)):
        assert is_image(data, dim)
        assert decode(data, None, LIMITS).warnings == []


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_min_is_white_may_be_inverted_within_its_bits_or_within_all(bits: int) -> None:
    values = IMAGE.astype(np.uint16) << (bits - 8)
    for top in (2**bits - 1, 65535):
        decoded = decode(tiff(top - values, "miniswhite"), None, LIMITS)
        assert np.abs(np.asarray(decoded.image).astype(int) - IMAGE).max() <= 1
        assert decoded.warnings == [f"the image uses {bits} of its 16 bits: its grey range was taken from its values"]


def test_a_hot_pixel_of_a_png_decides_nothing_and_is_told() -> None:
    values = TWELVE.copy()
    values[0, 0] = 65535
    decoded = decode(png(values), None, LIMITS)
    assert np.abs(np.asarray(decoded.image).astype(int) - IMAGE).ravel()[1:].max() <= 1
    assert any("far outside" in each for each in decoded.warnings)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e30, -9999.0])
@pytest.mark.parametrize("place", [(0, 0), (30, 40), (59, 79)])
def test_a_lone_odd_pixel_is_shown_as_its_neighbours(place: tuple[int, int], odd: float) -> None:
    """In an image of the network's size, one white or black pixel can change an outcome."""
    row, column = place
    near = IMAGE[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    values = (IMAGE / 255).astype(np.float32)
    values[place] = odd
    files = [tiff(values)]
    if odd > 0:
        deep = TWELVE.copy()
        deep[place] = 65535
        files += [png(deep), tiff(65535 - deep, "miniswhite"), dicom(deep), dicom(deep, JPEG2000Lossless)]
    for data in files:
        assert int(near.min()) <= grey(data)[place] <= int(near.max())


def test_odd_pixels_that_touch_are_a_marker() -> None:
    values = TWELVE.copy()
    values[10:13, 10:14] = 65535
    assert (grey(png(values))[10:13, 10:14] == 255).all()


# --- JPEG and what is shown to people


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG"])
def test_the_image_for_people_is_upright_in_its_own_proportions(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turned = np.ascontiguousarray(TURNED[orientation](IMAGE))
    data = (
        encoded(turned, kind, tiffinfo={ORIENTATION: orientation})
        if kind == "TIFF"
        else encoded(turned, kind, exif=exif)
    )
    with Image.open(io.BytesIO(uploads.show(data, LIMITS))) as shown:
        assert shown.width / shown.height == IMAGE.shape[1] / IMAGE.shape[0]
        small = shown.resize(IMAGE.shape[::-1], Image.Resampling.BOX)
        assert np.abs(np.asarray(small).astype(int) - IMAGE).mean() < 3
    square = np.asarray(Image.fromarray(IMAGE).resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(uploads.read(data, 32, LIMITS).pixels - square).mean() < 3


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *itertools.product(["JPEG"], ["L", "RGB", "CMYK"]),
        *itertools.product(["PNG"], ["L", "RGB", "LA", "RGBA", "P", "1"]),
        *itertools.product(["TIFF"], ["L", "RGB", "CMYK", "LA", "RGBA", "P", "1"]),
    ],
)
def test_shallow_images_read_as_before(kind: str, mode: str) -> None:
    image = Image.fromarray(IMAGE).convert(mode)
    assert np.abs(grey(encoded(image, kind)).astype(int) - np.asarray(image.convert("L"))).mean() < 3
