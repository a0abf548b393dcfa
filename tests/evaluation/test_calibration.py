"""Calibration against scikit-learn's unpenalised regression, and where there is none."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline.evaluation import bootstrap, calibration


def drawn(images: int = 400, seed: int = 0, slope: float = 0.6, intercept: float = -0.8):
    """Logits, and labels drawn so that the right logit is `intercept + slope * logit`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.5, 3, images)
    labels = rng.random(images) < calibration.sigmoid(intercept + slope * logits)
    return labels, logits, [f"{place // 2}" for place in range(images)]


def theirs(labels, logits, weights=None):
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits[:, None], labels, sample_weight=weights)
    return model.intercept_[0], model.coef_[0, 0]


def test_the_fit_is_the_maximum_of_the_likelihood():
    labels, logits, _ = drawn()
    fitted = calibration.fit(labels, logits)
    assert (fitted.intercept, fitted.slope) == pytest.approx(theirs(labels, logits), abs=1e-4)


def test_slopes_of_resamples_are_fits_of_their_own():
    labels, logits, patients = drawn(160)
    sample = bootstrap.draw(labels, patients, 12, 0)
    slopes = calibration.slope(labels, logits, sample)
    for value, weights in zip(slopes, sample.of_images, strict=True):
        kept = weights > 0
        assert value == pytest.approx(theirs(labels[kept], logits[kept], weights[kept])[1], abs=2e-3)


def test_the_intercept_makes_the_expected_count_of_positives_right():
    labels, logits, patients = drawn()
    sample = bootstrap.draw(labels, patients, 12, 0)
    intercepts = calibration.intercept(labels, logits, sample)
    for value, weights in zip(intercepts, sample.of_images, strict=True):
        expected = np.sum(weights * calibration.sigmoid(logits + value))
        assert expected == pytest.approx(np.sum(weights * labels), abs=0.01)


def test_recalibrating_on_its_own_images_leaves_nothing_to_correct():
    labels, logits, patients = drawn()
    sample = bootstrap.draw(labels, patients, 5, 0)
    again = calibration.fit(labels, logits)(logits)
    assert calibration.slope(labels, again, sample)[0] == pytest.approx(1, abs=1e-6)
    assert calibration.intercept(labels, again, sample)[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("shift", [-7.0, 0.0, 25.0])
@pytest.mark.parametrize("stretch", [0.05, 1.0, 20.0])
def test_the_fit_follows_a_change_of_scale(shift, stretch):
    labels, logits, _ = drawn()
    plain, moved = calibration.fit(labels, logits), calibration.fit(labels, shift + stretch * logits)
    assert moved.slope * stretch == pytest.approx(plain.slope, rel=1e-6)
    assert moved.intercept + moved.slope * shift == pytest.approx(plain.intercept, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "logits"),
    [
        ([0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0]),  # a threshold tells the classes apart
        ([0, 0, 1, 1], [2.0, 1.0, -1.0, -2.0]),  # the wrong way round
        ([0, 0, 1, 1], [-2.0, 0.0, 0.0, 2.0]),  # apart but for a tie
        ([1, 1, 1, 1], [-2.0, -1.0, 1.0, 2.0]),  # one class
        ([0, 1, 0, 1], [3.0, 3.0, 3.0, 3.0]),  # constant output
    ],
)
def test_no_slope_is_invented_where_the_likelihood_has_no_maximum(labels, logits):
    labels, logits = np.array(labels, dtype=bool), np.array(logits)
    sample = bootstrap.draw(labels, list("abcd"), 5, 0)
    assert calibration.fit(labels, logits) is None
    assert np.isnan(calibration.slope(labels, logits, sample)).all()


def test_sigmoid_and_logit_are_each_others_inverse_far_out():
    logits = np.array([-700.0, -30.0, -1.0, 0.0, 5.0, 30.0, 700.0])
    probabilities = calibration.sigmoid(logits)
    assert probabilities[0] > 0
    assert probabilities[-1] == 1
    assert calibration.logit(float(probabilities[4])) == pytest.approx(5)


def test_reliability_counts_each_image_once_and_means_what_it_says():
    labels, logits, patients = drawn(500)
    sample = bootstrap.draw(labels, patients, 200, 0)
    points = calibration.reliability(labels, logits, sample)
    assert sum(point["pictures"] for point in points) == 500
    assert len(points) == 10
    observed = sum(point["observed"] * point["pictures"] for point in points)
    assert observed == pytest.approx(labels.sum())
    assert all(point["observed_low"] <= point["observed"] <= point["observed_high"] for point in points)
    constant = calibration.reliability(labels, np.zeros(500), sample)
    assert [(point["predicted"], point["pictures"]) for point in constant] == [(0.5, 500)]
