"""Chance and rank statistics against scikit-learn, published numbers, and the laws they must obey."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from pipeline.evaluation import bootstrap


def sets_of_images(least_patients: int = 2):
    """Labels, coarse scores (so that ties occur) and patients, each patient of one class."""
    patient = st.tuples(st.booleans(), st.lists(st.integers(-4, 4), min_size=1, max_size=4))
    return (
        st.lists(patient, min_size=least_patients, max_size=14)
        .filter(lambda drawn: len({label for label, _ in drawn}) == 2)
        .map(
            lambda drawn: (
                np.array([label for label, scores in drawn for _ in scores]),
                np.array([float(score) for _, scores in drawn for score in scores]),
                [f"patient{place}" for place, (_, scores) in enumerate(drawn) for _ in scores],
            )
        )
    )


@settings(max_examples=30, deadline=None)
@given(sets_of_images())
def test_auc_of_the_sample_and_of_every_resample_is_scikit_learns(images):
    labels, scores, patients = images
    sample = bootstrap.draw(labels, patients, resamples=5, seed=1)
    ours = bootstrap.auc(labels, scores, sample)
    for value, weights in zip(ours, sample.of_images, strict=True):
        assert value == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(sets_of_images())
def test_the_roc_curve_is_scikit_learns_and_its_area_is_the_auc(images):
    labels, scores, patients = images
    sample = bootstrap.draw(labels, patients, resamples=3, seed=1)
    fpr, tpr, thresholds = bootstrap.roc(labels, scores, sample)
    theirs = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(fpr[0], theirs[0], atol=1e-6)
    np.testing.assert_allclose(tpr[0], theirs[1], atol=1e-6)
    np.testing.assert_allclose(thresholds, theirs[2][1:])
    np.testing.assert_allclose(np.trapezoid(tpr, fpr, axis=1), bootstrap.auc(labels, scores, sample), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(sets_of_images(), st.randoms(use_true_random=False))
def test_auc_keeps_its_laws(images, random):
    labels, scores, patients = images
    sample = bootstrap.draw(labels, patients, resamples=10, seed=3)
    value = bootstrap.auc(labels, scores, sample)
    np.testing.assert_allclose(bootstrap.auc(labels, np.exp(scores / 2), sample), value)  # order alone counts
    np.testing.assert_allclose(bootstrap.auc(labels, -scores, sample), 1 - value, atol=1e-9)
    np.testing.assert_allclose(bootstrap.auc(labels, np.zeros_like(scores), sample), 0.5)
    order = list(range(len(labels)))
    random.shuffle(order)
    shuffled = bootstrap.draw(labels[order], [patients[row] for row in order], resamples=10, seed=3)
    np.testing.assert_allclose(bootstrap.auc(labels[order], scores[order], shuffled), value)


@settings(max_examples=25, deadline=None)
@given(sets_of_images(), st.integers(0, 5))
def test_a_resample_draws_whole_patients_within_their_class(images, seed):
    labels, _, patients = images
    sample = bootstrap.draw(labels, patients, resamples=20, seed=seed)
    for label in (False, True):
        columns = np.unique(sample.patient[labels == label])
        np.testing.assert_array_equal(sample.weights[:, columns].sum(axis=1), len(columns))
    for patient in set(patients):
        rows = [row for row, name in enumerate(patients) if name == patient]
        assert len(set(sample.patient[rows])) == 1
    np.testing.assert_array_equal(sample.weights[0], 1)
    again = bootstrap.draw(labels, patients, resamples=20, seed=seed)
    np.testing.assert_array_equal(again.weights, sample.weights)


def test_many_images_of_a_patient_widen_the_interval():
    rng = np.random.default_rng(0)
    labels = np.repeat([False, True], 100)
    right = np.repeat(rng.random(20) < 0.8, 10)  # ten images a patient, all alike
    widths = []
    for patients in ([f"{row}" for row in range(200)], [f"{row // 10}" for row in range(200)]):
        sample = bootstrap.draw(labels, patients, 2000, 0)
        _, low, high = bootstrap.interval(sample.totals(right & labels) / sample.totals(labels))
        widths.append(high - low)
    assert widths[1] > 2.5 * widths[0]  # about the square root of ten


def test_the_bootstrap_interval_of_a_share_agrees_with_wilsons_when_each_patient_has_one_image():
    labels = np.ones(400, dtype=bool)
    right = np.arange(400) < 340
    sample = bootstrap.draw(labels, [str(row) for row in range(400)], 2000, 0)
    value, low, high = bootstrap.interval(sample.totals(right) / sample.totals(labels))
    expected = bootstrap.wilson(340, 400)
    assert value == pytest.approx(0.85)
    assert low == pytest.approx(expected[0], abs=0.008)
    assert high == pytest.approx(expected[1], abs=0.008)


def test_wilson_gives_published_numbers():
    # Newcombe, Statistics in Medicine 1998, table I: method 3.
    assert bootstrap.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert bootstrap.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert bootstrap.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert bootstrap.wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    # 593 of 624 right: an accuracy of .95 on the official test set.
    assert bootstrap.wilson(593, 624) == pytest.approx((0.930, 0.965), abs=1e-3)
    assert np.isnan(bootstrap.wilson(0, 0)).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_monotone_and_between_the_raw_p_and_bonferronis(p_values):
    adjusted = bootstrap.holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1.0, p * len(p_values)) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)


def test_holm_gives_the_textbook_numbers_and_leaves_undefined_alone():
    assert bootstrap.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    adjusted = bootstrap.holm([0.01, float("nan"), 0.04])
    assert adjusted[0] == pytest.approx(0.02)
    assert np.isnan(adjusted[1])


def test_p_is_small_for_a_sure_difference_and_large_for_none():
    rng = np.random.default_rng(0)
    sure, none = rng.normal(5, 1, 2001), rng.normal(0, 1, 2001)
    assert bootstrap.p_value(sure) < 0.002
    assert bootstrap.p_value(none) > 0.8
    assert bootstrap.p_value(np.zeros(2001)) == 1.0
    assert np.isnan(bootstrap.p_value(np.full(11, np.nan)))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_bounds_are_numpys_quantiles(drawn):
    replicates = np.array([drawn[0], *drawn])
    value, low, high = bootstrap.interval(replicates)
    assert value == drawn[0]
    expected = np.quantile(drawn, [0.025, 0.975, 0.05])
    assert [low, high, bootstrap.lower_bound(replicates)] == pytest.approx(list(expected), rel=1e-6, abs=1e-6)


def test_an_undefined_resample_cannot_make_an_interval_narrower():
    replicates = np.linspace(0, 1, 1001)
    replicates[1:6] = np.nan  # five in a thousand: within the tails
    value, low, high = bootstrap.interval(np.concatenate([[0.5], replicates]))
    complete = bootstrap.interval(np.concatenate([[0.5], np.linspace(0, 1, 1001)]))
    assert low <= complete[1]
    assert high >= complete[2]
    replicates[1:60] = np.nan  # more than a tail holds: no bound is known
    assert np.isnan(bootstrap.interval(np.concatenate([[0.5], replicates]))[1:]).all()
    assert np.isnan(bootstrap.interval(np.full(10, np.nan))).all()


def test_one_class_has_no_auc():
    labels = np.array([True, True, True])
    sample = bootstrap.draw(labels, ["a", "b", "c"], 10, 0)
    assert np.isnan(bootstrap.auc(labels, np.array([0.1, 0.2, 0.3]), sample)).all()
    fpr, tpr, _ = bootstrap.roc(labels, np.array([0.1, 0.2, 0.3]), sample)
    assert np.isnan(bootstrap.sensitivity_at_specificity(fpr, tpr, 0.95)).all()


@settings(max_examples=25, deadline=None)
@given(sets_of_images(), st.sampled_from([0.5, 0.8, 0.95]))
def test_points_of_the_curve_are_the_best_that_any_threshold_reaches(images, wanted):
    labels, scores, patients = images
    sample = bootstrap.draw(labels, patients, 2, 0)
    fpr, tpr, _ = bootstrap.roc(labels, scores, sample)
    observed = [*np.unique(scores), np.inf]
    rates = [(np.mean(scores[labels] >= threshold), np.mean(scores[~labels] < threshold)) for threshold in observed]
    sensitivity = bootstrap.sensitivity_at_specificity(fpr, tpr, wanted)[0]
    specificity = bootstrap.specificity_at_sensitivity(fpr, tpr, wanted)[0]
    assert sensitivity == pytest.approx(max(se for se, sp in rates if sp >= wanted - 1e-9), abs=1e-6)
    assert specificity == pytest.approx(max(sp for se, sp in rates if se >= wanted - 1e-9), abs=1e-6)
