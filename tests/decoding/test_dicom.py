"""DICOM kinds, each against pydicom's own transformations or against the image that was stored."""

import io
import itertools
import logging
import os
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from pipeline.decoding import dicom, dicom_display, dicom_header
from pipeline.decoding.errors import UnreadableImage
from pipeline.decoding.limits import Limits
from pipeline.decoding.reader import decode
from tests.image_storage import LOSSLESS, NATIVE, SECRET, encoded, lut, parsed, put, scene, written
from tests.image_storage import dicom as stored

LIMITS = Limits(20_000_000)
IMAGE = scene()
DEEP = IMAGE.astype(np.uint16) * 16 + 7  # of 12 bits
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def grey(data: bytes) -> np.ndarray:
    return np.asarray(decode(data, None, LIMITS).image)


def odd(data: bytes) -> list[str]:
    """Warnings but for the one that every DICOM file carries."""
    return [each for each in decode(data, None, LIMITS).warnings if each != dicom_header.UNMEASURED]


def is_image(data: bytes, image: np.ndarray = IMAGE, apart: int = 1) -> bool:
    shown = grey(data)
    return shown.shape == image.shape and int(np.abs(shown.astype(int) - image).max()) <= apart


def by_pydicom(data: bytes, top: float) -> np.ndarray:
    """pydicom's grey values from 0 to 255; `top` is what it shows white. Its window functions want the type it stored."""
    dataset = parsed(data)
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(np.float64)
    low = 0 if dataset.PixelRepresentation == 0 else -(2 ** (dataset.BitsStored - 1))
    return np.rint(np.clip((values - low) / (top - low), 0, 1) * 255)


# --- tones, against pydicom


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 2048, "WindowWidth": 4096},
        {"WindowCenter": 1800.5, "WindowWidth": 2500.25},
        {"WindowCenter": [1500, 900], "WindowWidth": [3000, 100]},
        {"WindowCenter": 2048, "WindowWidth": 4096, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 2000, "WindowWidth": 2000, "VOILUTFunction": "SIGMOID"},
    ],
)
def test_windows_are_those_of_pydicom(tags: dict) -> None:
    data = stored(DEEP, bits=12, **tags)
    assert np.abs(grey(data) - by_pydicom(data, 4095)).max() <= 1


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -1024), (0.5, 100.25)])
def test_rescaled_windows_are_those_of_pydicom(slope: float, intercept: float) -> None:
    ends = (slope * 0 + intercept, slope * 4095 + intercept)
    window = {"WindowCenter": sum(ends) / 2, "WindowWidth": 0.8 * (ends[1] - ends[0])}
    data = stored(DEEP, bits=12, RescaleSlope=slope, RescaleIntercept=intercept, **window)
    dataset = parsed(data)
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    # pydicom spreads the window over the rescaled range of the stored bits.
    expected = np.rint(255 * (values - ends[0]) / (ends[1] - ends[0]))
    assert np.abs(grey(data) - expected).max() <= 1


def test_a_negative_slope_inverts_where_pydicom_turns_the_window_around() -> None:
    """pydicom takes the rescaled ends in stored order, so a negative slope is undone by its window: the standard inverts."""
    data = stored(DEEP, bits=12, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096)
    assert is_image(data, 255 - IMAGE)
    dataset = parsed(data)
    theirs = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    assert np.corrcoef(theirs.ravel(), (255 - IMAGE).ravel())[0, 1] < -0.99


@pytest.mark.parametrize("claimed", [8, 10, 12, 16])
@pytest.mark.parametrize("first", [0, 1000])
def test_a_voi_lut_is_that_of_pydicom_and_white_is_its_largest_entry(claimed: int, first: int) -> None:
    curve = (np.linspace(0, 1, 3000) ** 0.7 * 3500).round().astype(int)
    if claimed == 8:
        curve //= 16
    data = stored(DEEP, bits=12, VOILUTSequence=Sequence([lut(curve, first, max(claimed, 10) if claimed > 8 else 16)]))
    dataset = parsed(data)
    theirs = apply_voi_lut(dataset.pixel_array, dataset).astype(np.float64)
    assert np.abs(grey(data) - np.rint(255 * theirs / curve.max())).max() <= 1


def test_a_voi_lut_of_8_bits_may_be_packed() -> None:
    item = lut(np.arange(4), 0, 8)
    item.LUTData = np.linspace(0, 255, 4096).round().astype(np.uint8).tobytes()
    item.LUTDescriptor = [4096, 0, 8]
    assert is_image(stored(DEEP, bits=12, VOILUTSequence=Sequence([item])))
    big = stored(DEEP, ExplicitVRBigEndian, bits=12, VOILUTSequence=Sequence([_swapped(item)]))
    assert is_image(big)


def _swapped(item: Dataset) -> Dataset:
    other = Dataset()
    other.LUTDescriptor = item.LUTDescriptor
    other.LUTData = np.frombuffer(item.LUTData, np.uint16).byteswap().tobytes()
    other["LUTData"].VR = "OW"
    return other


def test_a_modality_lut_is_that_of_pydicom() -> None:
    curve = (np.linspace(0, 1, 4096) ** 1.4 * 3000).round().astype(int)
    window = {"WindowCenter": 1500, "WindowWidth": 3000}
    data = stored(DEEP, bits=12, ModalityLUTSequence=Sequence([lut(curve)]), **window)
    values = apply_modality_lut(parsed(data).pixel_array, parsed(data)).astype(np.float64)
    expected = np.rint(255 * np.clip(dicom_display.window(values, 1500, 3000), 0, 1))
    assert np.abs(grey(data) - expected).max() <= 1
    plain = stored(DEEP, bits=12, ModalityLUTSequence=Sequence([lut(curve)]))
    assert np.abs(grey(plain) - np.rint(255 * values / 3000)).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_table_that_claims_more_bits_than_it_holds_darkens_nothing(bits: int, sequence: str) -> None:
    top = 2**bits - 1
    levels = np.rint(IMAGE / 255 * top).astype(np.uint16)
    assert is_image(stored(levels, bits=bits, **{sequence: Sequence([lut(np.arange(top + 1), 0, 16)])}))


def test_a_signed_image_has_a_table_from_a_negative_value_on() -> None:
    signed = DEEP.astype(np.int16) - 2048
    assert is_image(stored(signed, bits=12, VOILUTSequence=Sequence([lut(np.arange(4096), -2048)])))
    unsigned_first = lut(np.arange(4096), 0)
    unsigned_first.LUTDescriptor = [4096, 65536 - 2048, 16]
    assert is_image(stored(signed, bits=12, VOILUTSequence=Sequence([unsigned_first])))


# --- the image's own range


def test_values_without_a_window_span_their_own_range() -> None:
    values = np.array([[100, 200], [300, 500]], np.uint16)
    assert grey(stored(values)).tolist() == [[0, 64], [128, 255]]


def test_an_image_that_fills_its_bits_keeps_its_tones() -> None:
    dim = scene(low=10, high=200)
    assert is_image(stored(dim.astype(np.uint16) * 16, bits=12), dim)
    assert is_image(stored(dim), dim)


@pytest.mark.parametrize(("value", "count"), [(65535, 1), (65535, 40), (30000, 3), (9000, 1)])
def test_hot_pixels_decide_nothing_and_are_told(value: int, count: int) -> None:
    values = DEEP.copy()
    values.ravel()[:count] = value
    data = stored(values, bits=16)
    assert np.abs(grey(data).astype(int) - IMAGE).ravel()[count:].max() <= 1
    assert any("far outside" in each for each in odd(data))


def test_dead_pixels_of_a_signed_image_decide_nothing() -> None:
    values = DEEP.astype(np.int16)
    values.ravel()[:2] = -32768
    assert np.abs(grey(stored(values)).astype(int) - IMAGE).ravel()[2:].max() <= 1


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 0, "WindowWidth": 0},
        {"WindowCenter": 2048, "WindowWidth": -4096},
        {"WindowCenter": 2048, "WindowWidth": 0.5},
        {"WindowCenter": 2048, "WindowWidth": 1},
        {"WindowCenter": 30000, "WindowWidth": 100},
        {"WindowCenter": -30000, "WindowWidth": 100},
        {"WindowCenter": 32768, "WindowWidth": 65536},
        {"WindowCenter": 2048, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
        {"VOILUTSequence": Sequence([lut(np.full(4096, 800))])},
        {"RescaleSlope": 0},
    ],
)
def test_an_impossible_transformation_falls_back_with_a_warning(tags: dict) -> None:
    data = stored(DEEP, bits=12, **tags)
    assert is_image(data)
    assert any("ignored" in each for each in odd(data))


def test_a_window_that_is_no_number_falls_back_with_a_warning() -> None:
    good = stored(DEEP, bits=12, WindowCenter="2048", WindowWidth="4096")
    broken = good.replace(b"2048", b"2O48")
    assert is_image(broken)
    assert any("ignored" in each for each in odd(broken))


def test_an_impossible_window_is_called_so() -> None:
    """A decimal comma: nothing is known of what the window would leave."""
    broken = stored(DEEP, bits=12, WindowCenter="2048.5", WindowWidth="4096").replace(b"2048.5", b"2048,5")
    assert odd(broken) == ["the window (WindowCenter, WindowWidth) is impossible and was ignored"]
    narrow = stored(DEEP, bits=12, WindowCenter=30000, WindowWidth=100)
    assert odd(narrow) == [
        "the window (WindowCenter, WindowWidth) would leave next to nothing of the image and was ignored"
    ]


def test_the_first_possible_window_counts() -> None:
    data = stored(DEEP, bits=12, WindowCenter=[2048, 2048], WindowWidth=[0, 4096])
    assert is_image(data)
    assert odd(data)


# --- what is no image


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("windowed", [True, False])
@pytest.mark.parametrize(
    ("photometric", "kind", "value", "limit"),
    [
        ("MONOCHROME2", np.int16, -2000, None),
        ("MONOCHROME2", np.int16, -2000, -1990),
        ("MONOCHROME2", np.int16, -1990, -2000),
        ("MONOCHROME1", np.int16, -2000, None),
        ("MONOCHROME2", np.uint16, 65535, None),
        ("MONOCHROME1", np.uint16, 65535, 65530),
        ("MONOCHROME1", np.uint16, 0, None),
    ],
)
def test_padding_is_black_and_counts_for_nothing(
    photometric: str, kind: type, value: int, limit: int | None, windowed: bool, first: bool
) -> None:
    shown = DEEP if photometric == "MONOCHROME2" else 4095 - DEEP + 7
    values = shown.astype(kind)
    values[:12] = value
    if limit is not None:
        values[6:12] = limit
    tags = {"PhotometricInterpretation": photometric, "PixelPaddingValue": value}
    if limit is not None:
        tags["PixelPaddingRangeLimit"] = limit
    if windowed:
        tags |= WINDOW
    bordered = IMAGE.copy()
    bordered[:12] = 0
    data = stored(values, bits=16, **tags)
    assert is_image(data, bordered, apart=2)
    assert not odd(data)
    if first:  # written by a program that takes the value for unsigned
        dataset = parsed(data)
        dataset["PixelPaddingValue"].VR = "US"
        dataset["PixelPaddingValue"].value = value % 65536
        assert is_image(written(dataset), bordered, apart=2)


def test_padding_that_names_all_pixels_is_ignored_with_a_warning() -> None:
    data = stored(DEEP, bits=12, PixelPaddingValue=0, PixelPaddingRangeLimit=4095)
    assert is_image(data)
    assert odd(data)


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS])
def test_an_overlay_above_the_stored_bits_changes_nothing(syntax: str) -> None:
    strip = np.where(np.arange(IMAGE.shape[1]) < 15, 0x8000, 0).astype(np.uint16)
    assert is_image(stored(DEEP | strip, syntax, bits=12, **WINDOW))
    assert is_image(stored(DEEP | strip, syntax, bits=12))


def test_an_image_in_the_high_bits_is_shifted_down() -> None:
    assert is_image(stored((DEEP << 4) | 5, bits=12, HighBit=15, **WINDOW))


def test_bits_stored_that_are_too_few_are_noticed() -> None:
    data = stored(DEEP, bits=10)
    assert is_image(data)
    assert any("BitsStored" in each for each in odd(data))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("as_said", [True, False])
@pytest.mark.parametrize("bits", [12, 16])
def test_the_sign_of_a_jpeg_2000_image_counts_where_the_header_s_tears_it(
    bits: int, as_said: bool, signed: bool
) -> None:
    """A header that speaks of another sign than the compressed image may be right (the bits are) or wrong."""
    values = DEEP.astype(np.int16) - 2048 * signed
    stream = imagecodecs.jpeg2k_encode(
        values if signed else values.astype(np.uint16), codecformat="j2k", bitspersample=bits, reversible=True
    )
    data = stored(values, JPEG2000Lossless, bits=12, stream=stream, PixelRepresentation=int(signed == as_said))
    assert is_image(data)
    assert bool(odd(data)) == (not as_said)


def test_bits_of_another_sign_than_their_codestream_s_are_read_as_the_header_says() -> None:
    """As signed numbers of 12 bits the upper half of these would be negative: the codestream's word is wrong."""
    wrapped = ((DEEP.astype(np.int16) ^ 0x800) - 0x800) & 0x0FFF
    signed = (wrapped.astype(np.int16) << 4) >> 4
    stream = imagecodecs.jpeg2k_encode(signed, codecformat="j2k", bitspersample=12, reversible=True)
    data = stored(DEEP, JPEG2000Lossless, bits=12, stream=stream, **WINDOW)
    assert is_image(data)
    assert not odd(data)


def test_signed_values_are_extended_from_their_own_sign_bit() -> None:
    twelve = (DEEP.astype(np.int16) - 2048).view(np.uint16) & 0x0FFF  # without the bits above
    data = parsed(stored(twelve, bits=12))
    data.PixelRepresentation = 1
    assert is_image(written(data))


def test_overlay_planes_and_private_elements_cost_only_their_bytes() -> None:
    data = parsed(stored(DEEP, bits=12, **WINDOW))
    data.add_new((0x6000, 0x3000), "OW", bytes(3_000_000))
    data.add_new((0x0009, 0x0010), "LO", "MAKER")
    data.add_new((0x0009, 0x1001), "OB", bytes(3_000_000))
    assert is_image(written(data))
    with pytest.raises(UnreadableImage) as told:
        decode(written(data), None, Limits(20_000_000, 1, 1_000_000))
    assert told.value.error == "too_much_metadata"
    assert "max_metadata_megabytes" in told.value.detail


# --- an empty attribute is an absent one

EMPTY = [
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "NumberOfFrames", "SamplesPerPixel", "PixelRepresentation", "HighBit", "BitsStored"),
]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless])
@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_attribute_is_an_absent_one(name: str, syntax: str) -> None:
    image = IMAGE if name == "BitsStored" else DEEP
    if syntax == JPEG2000Lossless:  # an encoder wants them
        data = parsed(stored(image, syntax, bits=None if name == "BitsStored" else 12))
        put(data, name, None)
        assert is_image(written(data))
        return
    assert is_image(stored(image, syntax, bits=None if name == "BitsStored" else 12, **{name: None}))


@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
def test_an_empty_sequence_or_item_is_an_absent_one(name: str) -> None:
    bare, empty = Dataset(), lut(np.arange(4096))
    bare.LUTExplanation = "normal"
    empty.LUTData = None
    for items in ([], [bare], [Dataset()], [empty], [bare, lut(np.arange(4096))]):
        data = stored(DEEP, bits=12, **{name: Sequence(items)}, **WINDOW)
        assert is_image(data)
        assert not odd(data)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("PhotometricInterpretation", "undecodable"),
        ("Modality", "unsupported_modality"),
        ("Rows", "undecodable"),
        ("Columns", "undecodable"),
        ("BitsAllocated", "undecodable"),
        ("PixelData", "undecodable"),
    ],
)
@pytest.mark.parametrize("absent", [True, False])
def test_what_cannot_be_missing_is_named(name: str, error: str, absent: bool) -> None:
    data = parsed(stored(DEEP, bits=12))
    if absent:
        delattr(data, name)
    elif name == "PixelData":
        data.PixelData = b""
    else:
        put(data, name, None)
    with pytest.raises(UnreadableImage) as told:
        decode(written(data), None, LIMITS)
    assert told.value.error == error
    assert name in told.value.detail or (name == "PixelData" and "pixel data" in told.value.detail)


# --- every message is true


@pytest.mark.parametrize(
    ("tags", "error", "word"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour", "PhotometricInterpretation"),
        ({"SamplesPerPixel": 3}, "colour", "3 samples"),
        ({"BitsAllocated": 32}, "unsupported_type", "BitsAllocated 32"),
        ({"BitsStored": 13, "BitsAllocated": 8}, "undecodable", "BitsStored 13"),
        ({"Modality": "CT"}, "unsupported_modality", "Modality"),
        ({"NumberOfFrames": 3}, "too_many_frames", "3 frames"),
        ({"Rows": 30_000, "Columns": 30_000}, "too_many_pixels", "900000000 pixels"),
        ({"Rows": 61}, "undecodable", "9600 bytes of pixel data"),
        ({"Rows": 59}, "undecodable", "9600 bytes of pixel data"),
        ({"Rows": 30}, "undecodable", "9600 bytes of pixel data"),  # two frames, and nothing says so
    ],
)
def test_a_refusal_names_its_reason(tags: dict, error: str, word: str) -> None:
    with pytest.raises(UnreadableImage) as told:
        decode(stored(DEEP, bits=12, **tags), None, LIMITS)
    assert told.value.error == error
    assert word in told.value.detail


def test_letters_may_be_small() -> None:
    data = stored(DEEP, bits=12, PhotometricInterpretation="monochrome2", Modality="dx", PatientAge="003y", **WINDOW)
    assert is_image(data)
    assert not odd(data)


@pytest.mark.parametrize(
    "part",
    [
        "CHEST",
        "chest",
        "THORAX",
        "RIBCAGE",
        "RIB CAGE",
        "CHEST_PA",
        "CHEST PA",
        "Thorax^AP",
        "TORAX",
        "T\u00d3RAX",
        "LUNG",
        "RIBS",
        "PORTABLECHEST",
        "HEMITHORAX",
    ],
)
def test_chests_have_many_names(part: str) -> None:
    assert not odd(stored(DEEP, bits=12, BodyPartExamined=part, **WINDOW))


@pytest.mark.parametrize(
    "part", ["HAND", "ABDOMEN", "THORACIC SPINE", "CHESTABDPELVIS", "SKULL", "CHEST ABDOMEN", "ORCHESTRA", "NECKCHEST"]
)
def test_other_parts_are_no_chests(part: str) -> None:
    assert odd(stored(DEEP, bits=12, BodyPartExamined=part, **WINDOW)) == ["the body part is not the chest"]


@pytest.mark.parametrize(
    ("tags", "word"),
    [
        ({"BodyPartExamined": None}, "body part is not given"),
        ({"ViewPosition": "LL"}, "view is neither"),
        ({"ViewPosition": None}, "view is not given"),
        ({"PatientAge": "011M"}, "not 1 to 5 years"),
        ({"PatientAge": "006Y"}, "not 1 to 5 years"),
        ({"PatientAge": None}, "age is unknown"),
        ({"PatientAge": None, "PatientBirthDate": "19800101", "StudyDate": "20200101"}, "not 1 to 5 years"),
    ],
)
def test_what_the_network_does_not_know_is_warned_of(tags: dict, word: str) -> None:
    assert any(word in each for each in odd(stored(DEEP, bits=12, **tags)))


@pytest.mark.parametrize("years", ["012M", "001Y", "005Y", "071M", "3Y"])
def test_ages_of_the_study_are_not_warned_of(years: str) -> None:
    assert decode(stored(DEEP, bits=12, PatientAge=years), None, LIMITS).warnings == [dicom_header.UNMEASURED]


def test_age_from_dates() -> None:
    header = Dataset()
    header.PatientBirthDate, header.StudyDate = "20170315", "20200914"
    assert dicom_header.age(header) == pytest.approx(3.5, abs=0.01)


# --- files and transfer syntaxes


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS, JPEGLSNearLossless])
@pytest.mark.parametrize("signed", [True, False])
def test_every_transfer_syntax_reads_alike(syntax: str, signed: bool) -> None:
    if syntax == JPEGLSNearLossless:
        data = parsed(stored(DEEP, bits=12, **WINDOW))
        data.compress(JPEGLSNearLossless, jls_error=2, generate_instance_uid=False)
        assert is_image(written(data))
        return
    values = DEEP.astype(np.int16) - 2048 if signed else DEEP
    assert is_image(stored(values, syntax, bits=12))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_jpeg_ls_is_not_taken_for_markers(bits: int) -> None:
    """Bytes 00 to 7F after FF are data in JPEG-LS; noise holds all of them."""
    noise = np.random.default_rng(bits).integers(0, 2**bits, (120, 130)).astype(np.uint16 if bits > 8 else np.uint8)
    data = stored(noise, JPEGLSLossless, bits=bits)
    stream = next(generate_frames(parsed(data).PixelData, number_of_frames=1))
    assert any(bytes((255, low)) in stream[40:-2] for low in range(1, 0x80))
    assert is_image(data, np.rint(255 * (noise / (2**bits - 1))).astype(np.uint8))


@pytest.mark.parametrize(
    ("uid", "stream"),
    [
        ("1.2.840.10008.1.2.4.201", imagecodecs.htj2k_encode(DEEP)),
        (JPEGLosslessSV1, imagecodecs.ljpeg_encode(DEEP, bitspersample=12)),
        (JPEGExtended12Bit, imagecodecs.jpeg_encode(DEEP, level=98, bitspersample=12)),
        (JPEGBaseline8Bit, imagecodecs.jpeg_encode(DEEP, level=98, bitspersample=12)),  # says less than it has
    ],
)
def test_syntaxes_of_another_encoder_are_read(uid: str, stream: bytes) -> None:
    assert is_image(stored(DEEP, uid, bits=12, stream=bytes(stream), **WINDOW))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("uid", [JPEGLSNearLossless, JPEG2000])
def test_what_lossy_compression_adds_to_white_does_not_turn_black(uid: str, bits: int, signed: bool) -> None:
    """An encoder that works on 16 bits may leave the stored ones by a little."""
    top = 2**bits - 1
    levels = np.rint(IMAGE / 255 * (top + 4) - 2).astype(np.int32)
    values = levels - 2 ** (bits - 1) if signed else levels.clip(0)
    pixels = values.astype(np.int16 if signed else np.uint16)
    data = parsed(stored(pixels, bits=16))
    data.compress(
        uid, generate_instance_uid=False, **({"jls_error": 1} if uid == JPEGLSNearLossless else {"j2k_psnr": [90]})
    )
    data.BitsStored, data.HighBit = bits, bits - 1
    assert is_image(written(data), apart=2)


@pytest.mark.parametrize(("near", "bits"), [(0, 8), (0, 12), (0, 16), (1, 12), (3, 16)])
def test_jpeg_ls_reads_as_by_another_library(near: int, bits: int) -> None:
    """The service has one decoder of JPEG-LS, a developer's environment two."""
    pixels = (IMAGE.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint8 if bits == 8 else np.uint16)
    stream = bytes(imagecodecs.jpegls_encode(pixels, level=near))
    other = imagecodecs.jpegls_decode(stream).astype(np.float64)
    data = stored(pixels, JPEGLSNearLossless if near else JPEGLSLossless, bits=bits, stream=stream)
    assert np.abs(grey(data) - np.rint(255 * np.clip(other / (2**bits - 1), 0, 1))).max() <= 1


def test_jpeg_2000_may_lie_in_a_jp2_file() -> None:
    codestream = _codestream(stored(DEEP, JPEG2000Lossless, bits=12, **WINDOW))
    for long_box in (False, True):
        data = stored(DEEP, JPEG2000Lossless, bits=12, stream=_jp2(codestream, long_box), **WINDOW)
        assert is_image(data)


def _codestream(data: bytes) -> bytes:
    stream = next(generate_frames(parsed(data).PixelData, number_of_frames=1))
    return stream.rstrip(b"\0")


def _jp2(codestream: bytes, long_box: bool) -> bytes:
    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + name + content

    height, width = IMAGE.shape
    header = box(b"ihdr", struct.pack(">IIHBBBB", height, width, 1, 11, 7, 0, 0)) + box(b"colr", b"\1\0\0\0\0\0\x11")
    last = struct.pack(">I4sQ", 1, b"jp2c", 16 + len(codestream)) + codestream if long_box else box(b"jp2c", codestream)
    start = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + box(b"uuid", bytes(40))
    return start + box(b"jp2h", header) + last


@pytest.mark.parametrize("uid", [JPEGBaseline8Bit, JPEGExtended12Bit])
def test_a_jpeg_inside_dicom_is_the_jpeg_outside(uid: str) -> None:
    jpeg = encoded(IMAGE, quality=90)
    data = stored(IMAGE, uid, stream=jpeg, WindowCenter=128, WindowWidth=256)
    assert np.array_equal(grey(data), grey(jpeg))


@pytest.mark.parametrize("uid", [JPEGBaseline8Bit, JPEGExtended12Bit])
def test_a_jpeg_of_bytes_may_lie_where_two_bytes_have_room(uid: str) -> None:
    jpeg = encoded(IMAGE, quality=90)
    data = parsed(stored(IMAGE, uid, stream=jpeg, WindowCenter=128, WindowWidth=256))
    data.BitsAllocated = 16
    assert np.array_equal(grey(written(data, uid)), grey(jpeg))


def test_padding_behind_a_jpeg_2000_image_is_no_second_file() -> None:
    stream = imagecodecs.jpeg2k_encode(IMAGE, codecformat="j2k", reversible=True)
    for tail in (b"", b"\0", b"\xff\0", b"\n"):
        assert is_image(stored(IMAGE, JPEG2000Lossless, stream=stream + tail))
    for second in (b"PK\3\4" + bytes(30), b"<html>", encoded(IMAGE, "PNG")):
        with pytest.raises(UnreadableImage) as told:
            decode(stored(IMAGE, JPEG2000Lossless, stream=stream + second), None, LIMITS)
        assert told.value.error == "polyglot"


def test_an_archive_within_the_pixel_data_is_refused() -> None:
    archive = b"PK\5\6" + bytes(18)
    for syntax in (ExplicitVRLittleEndian, LOSSLESS[0]):
        data = stored(DEEP, syntax, bits=12)
        with pytest.raises(UnreadableImage) as told:
            decode(data[:-100] + archive + data[-100 + len(archive) :], None, LIMITS)
        assert told.value.error == "polyglot"


@pytest.mark.parametrize("tail", [b"\xff", b"\xff" * 3, b"\0" * 5, b"\n\xff\0"])
def test_padding_behind_a_jpeg_is_no_second_file(tail: bytes) -> None:
    jpeg = encoded(IMAGE, quality=98)
    data = stored(IMAGE, JPEGBaseline8Bit, stream=jpeg + tail, WindowCenter=128, WindowWidth=256)
    assert np.abs(grey(data).astype(int) - IMAGE).mean() < 2
    with pytest.raises(UnreadableImage):
        decode(stored(IMAGE, JPEGBaseline8Bit, stream=jpeg + b"PK\3\4" + tail), None, LIMITS)


def test_elements_and_padding_may_follow_the_pixels_and_nothing_else() -> None:
    data = parsed(stored(DEEP, bits=12, **WINDOW))
    data.add_new((0x7FE1, 0x0010), "LO", "MAKER")
    data.add_new((0x7FE1, 0x1001), "OB", bytes(5000))
    data.add_new((0xFFFA, 0xFFFA), "SQ", [Dataset()])
    data.add_new((0xFFFC, 0xFFFC), "OB", bytes(300))
    plain = written(data)
    for tail in (b"", bytes(200), b"\n", b"\xff" * 5):
        assert is_image(plain + tail)
        assert is_image(stored(DEEP, bits=12, **WINDOW) + tail)
    for second in (
        b"<html><script>alert(1)</script></html>",
        b"PK\3\4" + bytes(80),
        plain,
        b"MZ" + bytes(100),
        encoded(IMAGE),
    ):
        for first in (plain, stored(DEEP, bits=12, **WINDOW), stored(DEEP, JPEG2000Lossless, bits=12, **WINDOW)):
            with pytest.raises(UnreadableImage) as told:
                decode(first + second, None, LIMITS)
            assert told.value.error == "polyglot"


def test_endless_elements_behind_the_pixels_end() -> None:
    element = struct.pack("<HH2sH", 0x7FE1, 0x1000, b"CS", 0)
    with pytest.raises(UnreadableImage) as told:
        decode(stored(DEEP, bits=12) + element * 100_000, None, LIMITS)
    assert told.value.error == "too_much_metadata"


@pytest.mark.parametrize("pieces", [5, 1500])
def test_an_image_may_lie_in_many_fragments(pieces: int) -> None:
    data = parsed(stored(DEEP, JPEGLSLossless, bits=12, **WINDOW))
    stream = next(generate_frames(data.PixelData, number_of_frames=1))
    data.PixelData = encapsulate([stream], fragments_per_frame=pieces, has_bot=False)
    data["PixelData"].is_undefined_length = True
    assert is_image(written(data))


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0"])
def test_a_preamble_may_be_that_of_a_tiff(start: bytes) -> None:
    data = stored(DEEP, bits=12, **WINDOW)
    assert is_image(start + bytes(128 - len(start)) + data[128:])


def test_a_description_may_mention_a_transfer_syntax() -> None:
    data = stored(DEEP, bits=12, StudyDescription="1.2.840.10008.1.2.1.99 and 1.2.840.10008.1.2.4.50", **WINDOW)
    assert is_image(data)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_file_without_preamble_or_meta_is_read(syntax: str) -> None:
    data = stored(DEEP, syntax, bits=12, **WINDOW)
    assert is_image(data[132:])
    assert is_image(data[128:])
    first = struct.pack(">HH" if syntax == ExplicitVRBigEndian else "<HH", 0x0008, 0x0016)
    assert is_image(data[data.index(first) :])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, *LOSSLESS[1:]])
def test_a_missing_transfer_syntax_is_read_off_the_pixels(syntax: str) -> None:
    data = stored(DEEP, syntax, bits=12, **WINDOW)
    assert is_image(_without_syntax(data))


def test_a_deflated_data_set_is_known_whatever_is_said_of_it() -> None:
    """Without a transfer syntax, in zlib's or gzip's wrapping, or said to be deflated and not."""
    deflated = stored(DEEP, DeflatedExplicitVRLittleEndian, bits=12, **WINDOW)
    plain = stored(DEEP, bits=12, **WINDOW)
    content = plain[plain.index(struct.pack("<HH", 0x0008, 0x0016), 132) :]
    meta = deflated[: 144 + struct.unpack_from("<I", deflated, 140)[0]]
    trailer = struct.pack("<II", zlib.crc32(content), len(content))
    packed = zlib.compress(content)
    for data in (
        _without_syntax(deflated),
        meta + packed,
        meta + packed[2:-4] + trailer,
        meta + content,
        deflated + b"\0",
    ):
        assert is_image(data)
    with pytest.raises(UnreadableImage) as told:
        decode(deflated + b"PK\3\4 and more", None, LIMITS)
    assert told.value.error == "polyglot"
    with pytest.raises(UnreadableImage, match="TransferSyntaxUID"):
        decode(_without_syntax(meta + b"\xff" * 500), None, LIMITS)


def test_a_missing_transfer_syntax_that_cannot_be_told_is_said() -> None:
    with pytest.raises(UnreadableImage, match="TransferSyntaxUID"):
        decode(_without_syntax(stored(DEEP, LOSSLESS[0], bits=12)), None, LIMITS)


def _without_syntax(data: bytes) -> bytes:
    """The file meta group's transfer syntax renamed to a private information element."""
    place = data.index(struct.pack("<HH2s", 0x0002, 0x0010, b"UI"))
    return data[: place + 2] + struct.pack("<H", 0x0016) + data[place + 4 :]


def test_a_wrong_transfer_syntax_is_seen_through() -> None:
    native = stored(DEEP, bits=12, **WINDOW)
    uid = ExplicitVRLittleEndian.encode() + b"\0"
    lied = native.replace(uid, JPEG2000Lossless.encode()[: len(uid)].ljust(len(uid), b"\0"))
    with pytest.raises(UnreadableImage, match="TransferSyntaxUID"):
        decode(lied, None, LIMITS)  # the name was cut to the same length: of no syntax at all
    dataset = parsed(stored(DEEP, JPEG2000Lossless, bits=12, **WINDOW))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    target = io.BytesIO()
    pydicom.dcmwrite(target, dataset, implicit_vr=False, little_endian=True)
    assert is_image(target.getvalue())


PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]


@pytest.mark.parametrize(("real", "stated"), itertools.permutations(PLAIN, 2))
def test_a_file_may_be_written_otherwise_than_it_says(real: str, stated: str) -> None:
    dataset = parsed(stored(DEEP, real, bits=12, **WINDOW))
    dataset.file_meta.TransferSyntaxUID = stated
    target = io.BytesIO()
    form = {"implicit_vr": real == ImplicitVRLittleEndian, "little_endian": real != ExplicitVRBigEndian}
    pydicom.dcmwrite(target, dataset, force_encoding=True, **form)
    assert is_image(target.getvalue())


@pytest.mark.parametrize("syntax", [*PLAIN, JPEG2000Lossless])
def test_a_file_that_was_cut_is_called_so(syntax: str) -> None:
    data = stored(DEEP, syntax, bits=12)
    start = data.index(struct.pack(">HH" if syntax == ExplicitVRBigEndian else "<HH", 0x7FE0, 0x0010))
    for end in (400, start - 60, start - 1, start + 4, len(data) - 500, len(data) - 8):
        with pytest.raises(UnreadableImage, match=r"ends|longer|bytes of pixel data; Rows") as told:
            decode(data[:end], None, LIMITS)
        assert told.value.error == "undecodable"


def test_an_element_longer_than_the_file_is_named() -> None:
    data = stored(DEEP, bits=12)
    place = data.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
    with pytest.raises(UnreadableImage, match="longer than the file"):
        decode(data[: place + 4] + b"UN\0\0\xff\xff\xff\x7f" + data[place + 8 :], None, LIMITS)


def test_a_compressed_image_must_be_the_one_of_the_header() -> None:
    other = encoded(scene(80, 60))
    with pytest.raises(UnreadableImage, match="80 x 60 pixels .* 60 x 80"):
        decode(stored(IMAGE, JPEGBaseline8Bit, stream=other), None, LIMITS)
    colour = encoded(np.repeat(IMAGE[..., None], 3, 2))
    with pytest.raises(UnreadableImage, match="3 channels"):
        decode(stored(IMAGE, JPEGBaseline8Bit, stream=colour), None, LIMITS)


@pytest.mark.parametrize("tag", [(0x0018, 0x0015), (0x0018, 0x5101), (0x0010, 0x1010)])
def test_a_tag_of_no_known_kind_is_refused_by_name(tag: tuple[int, int]) -> None:
    """What the file says of body part, view and age is read late; a broken tag there must not become an error of ours."""
    good = stored(DEEP, bits=12)
    place = good.index(struct.pack("<HH", *tag)) + 4
    with pytest.raises(UnreadableImage) as told:
        decode(good[:place] + b"C\xf0" + good[place + 2 :], None, LIMITS)
    assert told.value.error == "undecodable"


def test_no_tag_reaches_a_log(caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder) -> None:
    caplog.set_level(logging.DEBUG)
    data = stored(DEEP, bits=12, PatientID="Secret-42").replace(
        b"1.2.826.0.1.3680043.8.498.1", b"Secret.0.1.3680043.8.498.1\0"
    )
    dicom.read(data, LIMITS)
    with pytest.raises(UnreadableImage) as told:
        dicom.read(data[:-3000], LIMITS)
    said = caplog.text + " ".join(str(each.message) for each in recwarn) + told.value.detail
    assert SECRET.split("^")[0] not in said


@pytest.mark.skipif("CXR_DICOM" not in os.environ, reason="CXR_DICOM names no folder with DICOM files")
def test_real_files() -> None:
    outcome = {}
    for path in Path(os.environ["CXR_DICOM"]).glob("*.dcm"):
        try:
            outcome[path.name[:4]] = float(grey(path.read_bytes()).std()) > 20
        except UnreadableImage as refusal:
            outcome[path.name[:4]] = refusal.error
    assert outcome["raip"] is outcome["udac"] is outcome["wg04"] is True
    assert outcome["not_"] == "unsupported_modality"
    assert outcome["html"] == "unsupported_type"
