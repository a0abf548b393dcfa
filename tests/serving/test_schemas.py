"""From outputs to an answer: verdicts, prevalence, the map's image."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.serving import overlay
from pipeline.serving.schemas import at_prevalence

inside = st.floats(0.001, 0.999)


def test_prevalence_shift_is_bayes() -> None:
    # Odds 3 at a prevalence of one half are odds 3 * (1/9) = 1/3 at a tenth.
    assert at_prevalence(0.75, 0.5, 0.1) == pytest.approx(0.25)


@settings(deadline=None)
@given(inside, inside, inside)
def test_shift_and_back_is_nothing(probability: float, assumed: float, wanted: float) -> None:
    there = at_prevalence(probability, assumed, wanted)
    assert 0 <= there <= 1
    assert at_prevalence(there, wanted, assumed) == pytest.approx(probability, abs=1e-6)
    assert at_prevalence(probability, assumed, assumed) == pytest.approx(probability)


@settings(deadline=None)
@given(inside, inside, inside, inside)
def test_shift_keeps_the_order(left: float, right: float, assumed: float, wanted: float) -> None:
    low, high = sorted((left, right))
    assert at_prevalence(low, assumed, wanted) <= at_prevalence(high, assumed, wanted) + 1e-12


def test_overlay_is_clear_without_evidence_and_red_with_it() -> None:
    evidence = np.zeros((4, 4), np.float32)
    evidence[:, 2:] = 5
    drawn = np.asarray(Image.open(io.BytesIO(overlay.png(evidence, (0.0, 2.0)))).convert("RGBA"))
    assert drawn.shape == (128, 128, 4)
    assert drawn[64, 5, 3] == 0
    assert drawn[64, 120].tolist() == [215, 25, 28, 255]


def test_overlay_has_one_scale_for_all_images() -> None:
    faint, strong = (overlay.png(np.full((4, 4), value, np.float32), (0.0, 2.0)) for value in (0.5, 2.0))
    alphas = [np.asarray(Image.open(io.BytesIO(image)).convert("RGBA"))[..., 3].mean() for image in (faint, strong)]
    assert alphas == pytest.approx([64, 255], abs=1)
