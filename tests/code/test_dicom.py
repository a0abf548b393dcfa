"""DICOM: from stored values to brightness, and what is warned of."""

import io
import logging
import os
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from pipeline.serving import dicom
from pipeline.serving.problems import Problem
from tests.film_fixture import encoded, film, scene

MANY = 20_000_000


def grey(**options) -> np.ndarray:
    return dicom.read(film(**options), MANY).grey


def test_values_without_a_window_span_their_own_range() -> None:
    stored = np.array([[100, 200], [300, 500]], np.uint16)
    assert grey(pixels=stored).tolist() == [[0, 64], [128, 255]]


def test_padding_is_black_and_stretches_nothing() -> None:
    stored = np.array([[0, 100], [150, 200]], np.uint16)
    assert grey(pixels=stored, PixelPaddingValue=0).tolist() == [[0, 0], [128, 255]]


def test_monochrome1_is_inverted() -> None:
    plain = grey(pixels=scene(30, 40))
    assert np.array_equal(grey(pixels=scene(30, 40), PhotometricInterpretation="MONOCHROME1"), 255 - plain)


def test_window_is_the_standards() -> None:
    # PS3.3 C.11.2.1.2.1: centre 2048 and width 4096 map 0 to 4095 onto the whole range; a width of 1 is a threshold at 2047.5.
    values = np.array([0.0, 2047.5, 4095.0])
    assert dicom.window(values, 2048, 4096) == pytest.approx([0, 0.5, 1])
    assert np.clip(dicom.window(np.array([2047.0, 2048.0]), 2048, 1), 0, 1).tolist() == [0, 1]
    assert dicom.window(np.array([1023.0, 2048.0]), 2048, 2050, "LINEAR_EXACT") == pytest.approx([0, 0.5])
    assert dicom.window(np.array([2048.0]), 2048, 100, "SIGMOID") == pytest.approx([0.5])


def test_modality_lut_comes_before_the_window() -> None:
    stored = np.array([[0, 50], [100, 150]], np.uint16)
    shown = grey(pixels=stored, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=100.5, WindowWidth=201)
    assert shown.tolist() == [[0, 0], [128, 255]]


def test_voi_lut_goes_before_the_window() -> None:
    table = Dataset()
    table.LUTDescriptor = [4, 0, 8]
    table.LUTData = bytes([0, 0, 40, 0, 80, 0, 255, 0])
    table["LUTData"].VR = "OW"
    stored = np.array([[0, 1], [2, 3]], np.uint16)
    shown = grey(pixels=stored, VOILUTSequence=Sequence([table]), WindowCenter=1, WindowWidth=1)
    assert shown.tolist() == [[0, 40], [80, 255]]


def test_every_row_of_a_tall_film_is_shown_alike() -> None:
    stored = scene(dicom.BAND * 2 + 17, 30).astype(np.uint16)
    whole = np.rint(255 * (stored - stored.min()) / (stored.max() - stored.min()))
    assert np.array_equal(grey(pixels=stored), whole)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_compressed_film_equals_the_raw_one(syntax: str) -> None:
    stored = scene(60, 50).astype(np.uint16) * 100
    if syntax == RLELossless:
        source = pydicom.dcmread(io.BytesIO(film(stored)))
        source.compress(RLELossless)
        target = io.BytesIO()
        source.save_as(target)
        shown = dicom.read(target.getvalue(), MANY).grey
    else:
        shown = grey(pixels=stored, syntax=syntax)
    assert np.array_equal(shown, grey(pixels=stored))


def test_jpeg_film_is_its_jpeg() -> None:
    stored = scene(64, 64)
    shown = grey(pixels=stored, syntax=JPEGBaseline8Bit, stream=encoded(stored, quality=95))
    assert np.abs(shown.astype(int) - grey(pixels=stored)).mean() < 4


def test_a_child_of_three_gets_one_warning() -> None:
    assert dicom.read(film(), MANY).warnings == [dicom.UNMEASURED]


@pytest.mark.parametrize(
    ("tags", "word"),
    [
        ({"BodyPartExamined": "HAND"}, "body part is not the chest"),
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
    assert any(word in warning for warning in dicom.read(film(**tags), MANY).warnings)


@pytest.mark.parametrize("years", ["012M", "001Y", "005Y", "071M"])
def test_ages_of_the_study_are_not_warned_of(years: str) -> None:
    assert dicom.read(film(PatientAge=years), MANY).warnings == [dicom.UNMEASURED]


def test_age_from_dates() -> None:
    header = Dataset()
    header.PatientBirthDate, header.StudyDate = "20170315", "20200914"
    assert dicom.age(header) == pytest.approx(3.5, abs=0.01)


def test_no_tag_reaches_a_log(caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder) -> None:
    caplog.set_level(logging.DEBUG)
    data = film(PatientID="Secret-42").replace(b"1.2.826.0.1.3680043.8.498.1", b"Secret.0.1.3680043.8.498.1\0")
    dicom.read(data, MANY)
    with pytest.raises(Problem) as refusal:
        dicom.read(data[:-3000], MANY)
    said = caplog.text + " ".join(str(each.message) for each in recwarn) + refusal.value.detail
    assert "Secret" not in said


@pytest.mark.skipif("CXR_DICOM" not in os.environ, reason="CXR_DICOM names no folder with DICOM files")
def test_real_films() -> None:
    outcome = {}
    for path in Path(os.environ["CXR_DICOM"]).glob("*.dcm"):
        try:
            outcome[path.name[:4]] = dicom.read(path.read_bytes(), MANY).grey.std() > 20
        except Problem as refusal:
            outcome[path.name[:4]] = refusal.status
    assert outcome["raip"] and outcome["udac"] and outcome["wg04"]
    assert outcome["not_"] == 415


@pytest.mark.parametrize("tag", [(0x0018, 0x0015), (0x0018, 0x5101), (0x0010, 0x1010)])
def test_a_tag_of_no_known_kind_is_refused(tag: tuple[int, int]) -> None:
    """What the file says of body part, view and age is read late; a broken tag there must not become an error of ours."""
    good = film()
    place = good.index(struct.pack("<HH", *tag)) + 4
    with pytest.raises(Problem) as told:
        dicom.read(good[:place] + b"C\xf0" + good[place + 2 :], MANY)
    assert told.value.status == 422
