"""A site's reading of the score: a known shift is found, thresholds hold on new patients, and few patients harm little."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap, site_fit
from pipeline.evaluation.predictions import Split
from pipeline.evaluation.site_fit import Asked, Reading

APART = 1.812  # of two normal classes: AUC 0.9
ASKED = Asked(0.9, 0.9)


def site(seed: int, each: int, intercept: float = 0.0, slope: float = 1.0, images: int = 1) -> Split:
    """`each` patients of each class; the right logit is `intercept + slope * logit`."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([False, True], each * images)
    right = APART * (rng.normal(size=len(labels)) + APART * (labels - 0.5))
    names = [f"p{number // images}" for number in range(len(labels))]
    return Split(
        [str(n) for n in range(len(labels))], labels, ["unknown"] * len(labels), names, (right - intercept) / slope
    )


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6), st.floats(-4, 4), st.floats(0.3, 2))
def test_a_known_shift_is_recovered(seed: int, intercept: float, slope: float) -> None:
    split = site(seed, 1500, intercept, slope)
    recalibration = site_fit.fit(split, ASKED, with_slope=True).recalibration
    assert recalibration.slope == pytest.approx(slope, rel=0.2)
    assert recalibration.intercept == pytest.approx(intercept, abs=0.35)
    alone = site_fit.fit(site(seed, 1500, intercept), ASKED, with_slope=False).recalibration
    assert alone.slope == 1 and alone.intercept == pytest.approx(intercept, abs=0.35)


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 10**6), st.floats(-4, 4), st.floats(0.3, 2))
def test_out_of_fold_the_reading_is_calibrated(seed: int, intercept: float, slope: float) -> None:
    split = site(seed, 400, intercept, slope, images=2)
    sample = bootstrap.draw(split.labels, split.patients, 50, 0)
    reading = site_fit.cross_fit(split, ASKED, with_slope=True, seed=0)
    estimates = {
        name: value[0] for name, value in site_fit.estimates(split.labels, split.logits, reading, sample).items()
    }
    assert estimates["calibration_intercept"] == pytest.approx(0, abs=0.1)
    assert estimates["calibration_slope"] == pytest.approx(1, abs=0.1)
    assert 0 < estimates["log_loss"] < 0.5


def test_an_image_has_no_part_in_its_own_reading() -> None:
    """Moving the scores of one patient moves the reading of the other folds alone: not the thresholds of its own."""
    split = site(3, 60, images=2)
    before = site_fit.cross_fit(split, ASKED, with_slope=True, seed=0)
    moved = split.logits.copy()
    moved[:2] += 5
    after = site_fit.cross_fit(
        Split(split.paths, split.labels, split.subtypes, split.patients, moved), ASKED, with_slope=True, seed=0
    )
    assert np.array_equal(before.lower[:2], after.lower[:2])
    assert np.array_equal(before.upper[:2], after.upper[:2])
    assert np.mean(before.recalibrated != after.recalibrated) > 0.8


@pytest.mark.parametrize("share", [0.8, 0.9, 0.95])
def test_thresholds_reach_what_is_asked_on_new_patients_on_average(share: float) -> None:
    reached = []
    for seed in range(200):
        fitted = site_fit.fit(site(seed, 40), Asked(share, share), with_slope=False)
        new = site(seed + 10_000, 500)
        sensitivity = np.mean(new.logits[new.labels] >= fitted.sensitive)
        specificity = np.mean(new.logits[~new.labels] < fitted.specific)
        reached.append((sensitivity, specificity))
    sensitivity, specificity = np.mean(reached, axis=0)
    assert share - 0.006 <= sensitivity <= share + 0.035
    assert share - 0.006 <= specificity <= share + 0.035


@pytest.mark.parametrize(
    ("each", "with_slope", "mean", "most"),
    [(site_fit.MIN_PATIENTS, False, 0.005, 0.018), (site_fit.SLOPE_PATIENTS, True, 0.01, 0.03)],
)
def test_where_nothing_is_wrong_a_profile_of_few_patients_harms_little(each, with_slope, mean, most) -> None:
    """The simulation that fixed the two numbers of patients: log loss lost on a large set, in nats."""
    large = site(1, 20_000)
    right = _loss(large, large.logits)
    lost = [
        _loss(large, site_fit.fit(site(seed, each), ASKED, with_slope).recalibration(large.logits)) - right
        for seed in range(2, 1002)
    ]
    assert np.mean(lost) < mean
    assert np.quantile(lost, 0.95) < most


def test_crossed_thresholds_are_put_in_order_and_both_criteria_hold_between_them() -> None:
    split = site(5, 100, slope=0.2)
    easy = site_fit.fit(split, Asked(0.5, 0.5), with_slope=False)
    reading = easy.read(split.logits)
    assert easy.crossed and (reading.lower <= reading.upper).all()
    middle = (easy.sensitive + easy.specific) / 2
    assert np.mean(split.logits[split.labels] >= middle) >= 0.5
    assert np.mean(split.logits[~split.labels] < middle) >= 0.5


def test_metrics_are_those_of_the_outcomes() -> None:
    labels = np.array([False, False, False, True, True, True])
    logits = np.array([-2.0, 0.0, 2.0, -2.0, 0.0, 2.0])
    sample = bootstrap.draw(labels, list("abcdef"), 50, 0)
    replicates = site_fit.estimates(labels, logits, Reading(logits, np.full(6, -1.0), np.full(6, 1.0)), sample)
    told = {name: float(value[0]) for name, value in replicates.items()}
    assert told["sensitivity_at_lower"] == pytest.approx(2 / 3) and told["specificity_at_lower"] == pytest.approx(1 / 3)
    assert told["sensitivity_at_upper"] == pytest.approx(1 / 3) and told["specificity_at_upper"] == pytest.approx(2 / 3)
    assert told["indeterminate"] == pytest.approx(1 / 3)


def test_a_stricter_wish_needs_more_patients() -> None:
    assert site_fit.needed(Asked(0.9, 0.9)) == site_fit.MIN_PATIENTS
    assert site_fit.needed(Asked(0.9, 0.98)) == 56
    for share in (0.8, 0.95, 0.975, 0.99):  # the number that is stated is enough in every part of the folds
        asked = Asked(share, 0.5)
        split = site(7, site_fit.needed(asked))
        site_fit.cross_fit(split, asked, with_slope=False, seed=0)
        assert site_fit.advised(asked) >= site_fit.needed(asked)


def test_what_cannot_be_fitted_is_refused() -> None:
    split = site(8, 60)
    upside_down = Split(split.paths, split.labels, split.subtypes, split.patients, -split.logits)
    with pytest.raises(ProjectError, match="does not rise with pneumonia"):
        site_fit.fit(upside_down, ASKED, with_slope=True)
    with pytest.raises(ProjectError, match="too few images"):
        site_fit.fit(site(9, 8), ASKED, with_slope=False)


def test_prevalence_has_an_interval_over_patients_of_either_class() -> None:
    split = site(10, 100)
    value, low, high = site_fit.prevalence(split.labels, split.patients, 500, 0)
    assert value == 0.5 and 0.39 < low < 0.45 and 0.55 < high < 0.61


def _loss(split: Split, logits: np.ndarray) -> float:
    return float(np.logaddexp(0, np.where(split.labels, -logits, logits)).mean())
