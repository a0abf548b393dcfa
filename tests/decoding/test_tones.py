"""Warnings about grey values."""

import numpy as np
import pytest

from pipeline.decoding import tones
from tests.image_storage import scene

SIDE = 128
IMAGE = scene(SIDE, SIDE)


def test_an_ordinary_image_is_not_warned_of() -> None:
    assert tones.warnings(IMAGE) == []


@pytest.mark.parametrize(("low", "high"), [(0, 15), (0, 100), (150, 255), (128, 128)])
def test_a_dim_image_is_warned_of(low: int, high: int) -> None:
    assert any("small part of the grey range" in each for each in tones.warnings(scene(SIDE, SIDE, low, high)))


def test_a_nearly_binary_image_is_warned_of() -> None:
    binary = np.where(IMAGE > 127, 250, 3).astype(np.uint8)
    assert any("nearly black and white" in each for each in tones.warnings(binary))


@pytest.mark.parametrize("grey", [0, 130, 255])
@pytest.mark.parametrize("sides", [(20, 20, 20, 20), (40, 0, 0, 0), (0, 0, 20, 20), (0, 30, 0, 0)])
def test_a_plain_border_is_warned_of(sides: tuple[int, int, int, int], grey: int) -> None:
    top, bottom, left, right = sides
    framed = np.full((SIDE, SIDE), grey, np.uint8)
    framed[top : SIDE - bottom, left : SIDE - right] = IMAGE[top : SIDE - bottom, left : SIDE - right]
    share = 1 - (SIDE - top - bottom) * (SIDE - left - right) / SIDE**2
    assert tones.border_share(framed) == pytest.approx(share, abs=0.02)
    assert any("plain border" in each for each in tones.warnings(framed))


def test_a_narrow_border_is_not_warned_of() -> None:
    framed = IMAGE.copy()
    framed[:12] = 0
    assert tones.warnings(framed) == []


def test_a_plain_image_is_all_border() -> None:
    assert tones.border_share(np.zeros((SIDE, SIDE), np.uint8)) == 1
