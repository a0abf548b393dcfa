"""Metrics at a threshold against scikit-learn and the study's own counts; operating points; one run as a whole."""

import dataclasses
import json

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from pipeline import paths
from pipeline import settings as project_settings
from pipeline.evaluation import bootstrap, calibration, metrics, operating, predictions, published, run_metrics
from pipeline.settings import Evaluate
from pipeline.stages.evaluate import advice
from tests.fake_predictions import SMALL, image_rows, write_logits, write_run

OPTIONS = Evaluate(threshold=0.5, resamples=200, seed=0, sensitive=0.95, specific=0.95, prevalence=0.1)
SOME_METRICS = """
    test_accuracy test_log_loss test_recall_normal test_precision_pneumonia test_f1_macro test_balanced_accuracy test_auc
    test_sensitivity test_specificity test_ppv test_npv test_ppv_10_percent test_npv_10_percent
    test_sensitivity_at_95_specificity test_specificity_at_95_sensitivity test_brier test_calibration_intercept
    test_calibration_slope test_calibration_slope_recalibrated test_log_loss_recalibrated test_sensitivity_at_sensitive
    test_specificity_at_specific test_bacterial_sensitivity test_viral_auc test_viral_sensitivity_at_specific
    validation_auc validation_brier gap_auc gap_specificity stress_auc stress_sensitivity
    stress_specificity_at_sensitive stress_side_bars_0.1_auc stress_gamma_0.6_specificity
"""


def from_counts(tn: int, fp: int, fn: int, tp: int):
    """Images that give these counts at a logit threshold of 0, and their sample."""
    labels = np.repeat([False, False, True, True], [tn, fp, fn, tp])
    logits = np.repeat([-1.0, 1.0, -1.0, 1.0], [tn, fp, fn, tp])
    return labels, logits, bootstrap.draw(labels, [str(row) for row in range(len(labels))], 20, 0)


@pytest.mark.parametrize("key", sorted(published.ROWS))
def test_the_studys_printed_metrics_follow_from_its_counts(key):
    row = published.ROWS[key]
    assert (sum(row.counts[:2]), sum(row.counts[2:])) == (234, 390)
    labels, logits, sample = from_counts(*row.counts)
    estimates = metrics.by_class(labels, logits, sample, 0.0) | metrics.decisions(labels, logits, sample, 0.0)
    assert metrics.confusion(labels, logits, 0.0) == dict(zip(("tn", "fp", "fn", "tp"), row.counts, strict=True))
    assert estimates["accuracy"][0] == pytest.approx(row.accuracy, abs=6e-4)
    for name in ("recall", "precision", "f1"):
        printed = getattr(row, name)
        # The study rounds some of its metrics down, so a whole last digit is allowed.
        assert estimates[f"{name}_normal"][0] == pytest.approx(printed[0], abs=0.0101)
        assert estimates[f"{name}_pneumonia"][0] == pytest.approx(printed[1], abs=0.0101)
    low, high = row.interval("accuracy")
    assert low < row.accuracy < high


def test_the_studys_auc_of_rounded_predictions_is_balanced_accuracy():
    labels, logits, sample = from_counts(198, 36, 10, 380)
    rounded = (logits > 0).astype(float)
    balanced = metrics.decisions(labels, logits, sample, 0.0)["balanced_accuracy"]
    np.testing.assert_allclose(bootstrap.auc(labels, rounded, sample), balanced)
    assert balanced[0] == pytest.approx(published.ROWS["custom_cnn", "balanced"].auc, abs=1e-3)
    # VGG16's printed .807 does not follow from its counts, as the study's readers should know.
    vgg16 = published.ROWS["vgg16", "balanced"]
    tn, fp, fn, tp = vgg16.counts
    assert (tn / (tn + fp) + tp / (tp + fn)) / 2 == pytest.approx(0.876, abs=5e-4)
    assert vgg16.auc == 0.807


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=4, max_size=40), st.integers(-2, 2))
def test_metrics_are_scikit_learns(drawn, threshold):
    labels = np.array([label for label, _ in drawn])
    logits = np.array([float(logit) for _, logit in drawn])
    if labels.all() or not labels.any():
        return
    called = logits >= threshold
    sample = bootstrap.draw(labels, [str(row) for row in range(len(labels))], 3, 0)
    ours = metrics.by_class(labels, logits, sample, threshold) | metrics.decisions(labels, logits, sample, threshold)
    for place, weights in enumerate(sample.of_images):
        theirs = sklearn_metrics.precision_recall_fscore_support(
            labels, called, sample_weight=weights, labels=[False, True], zero_division=np.nan
        )
        for name, (normal, pneumonia) in zip(("precision", "recall"), theirs, strict=False):
            np.testing.assert_allclose(ours[f"{name}_normal"][place], normal)
            np.testing.assert_allclose(ours[f"{name}_pneumonia"][place], pneumonia)
        accuracy = sklearn_metrics.accuracy_score(labels, called, sample_weight=weights)
        np.testing.assert_allclose(ours["accuracy"][place], accuracy)


def test_losses_are_scikit_learns_and_finite_where_a_probability_is_1():
    rng = np.random.default_rng(0)
    labels, logits = rng.random(200) < 0.6, rng.normal(0, 3, 200)
    sample = bootstrap.draw(labels, [str(row // 2) for row in range(200)], 5, 0)
    estimates = metrics.probabilities(labels, logits, sample)
    chances = calibration.sigmoid(logits)
    for place, weights in enumerate(sample.of_images):
        log_loss = sklearn_metrics.log_loss(labels, chances, sample_weight=weights)
        assert estimates["log_loss"][place] == pytest.approx(log_loss, abs=1e-6)
        brier = sklearn_metrics.brier_score_loss(labels, chances, sample_weight=weights)
        assert estimates["brier"][place] == pytest.approx(brier, abs=1e-6)
    far = metrics.probabilities(np.array([True, False]), np.array([-800.0, -1.0]), bootstrap.draw([1, 0], "ab", 2, 0))
    assert far["log_loss"][0] == pytest.approx((800 + np.log1p(np.exp(-1))) / 2)


def test_predictive_values_follow_bayes():
    sensitivity, specificity = np.array([0.9]), np.array([0.8])
    ppv, npv = metrics.predictive_values(sensitivity, specificity, 0.1)
    assert ppv[0] == pytest.approx(0.09 / (0.09 + 0.18))
    assert npv[0] == pytest.approx(0.72 / (0.72 + 0.01))
    labels, logits, sample = from_counts(80, 20, 10, 90)
    decided = metrics.decisions(labels, logits, sample, 0.0)
    ppv, npv = metrics.predictive_values(decided["sensitivity"], decided["specificity"], 0.5)
    np.testing.assert_allclose([ppv[0], npv[0]], [decided["ppv"][0], decided["npv"][0]])
    assert np.isnan(metrics.predictive_values(np.array([0.0]), np.array([1.0]), 0.1)[0][0])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 4))
def test_operating_points_are_the_extreme_thresholds_whose_bound_holds(seed, distance):
    rng = np.random.default_rng(seed)
    labels = np.repeat([False, True], [40, 60])
    logits = (rng.normal(size=100) + distance * labels).round(1)
    sample = bootstrap.draw(labels, [str(row // 2) for row in range(100)], 300, 0)

    def bound(name: str, threshold: float) -> float:
        return bootstrap.lower_bound(metrics.decisions(labels, logits, sample, threshold)[name])

    observed = np.unique(logits)
    sensitive = [each for each in observed if bound("sensitivity", each) >= 0.95 - 1e-6]
    specific = [each for each in observed if bound("specificity", each) >= 0.95 - 1e-6]
    assert operating.sensitive(labels, logits, sample, 0.95) == max(sensitive)
    assert operating.specific(labels, logits, sample, 0.95) == (min(specific) if specific else None)


def test_a_constant_output_has_a_sensitive_point_and_no_specific_one():
    labels = np.repeat([False, True], [10, 10])
    sample = bootstrap.draw(labels, [str(row) for row in range(20)], 50, 0)
    assert operating.sensitive(labels, np.zeros(20), sample, 0.95) == 0
    assert operating.specific(labels, np.zeros(20), sample, 0.95) is None


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path / "custom_cnn-raw-0", image_rows(SMALL), quality=2.0)
    return predictions.read(tmp_path / "custom_cnn-raw-0")


def test_a_run_has_every_metric_with_an_interval_around_it(run):
    samples = run_metrics.draw(run, OPTIONS)
    flat = run_metrics.summary(run, *run_metrics.measure(run, samples, OPTIONS))
    for name in SOME_METRICS.split():
        assert flat[f"{name}_low"] <= flat[name] <= flat[f"{name}_high"], name
    assert flat["test_tn"] + flat["test_fp"] == 25
    assert flat["validation_calibration_slope_recalibrated"] == pytest.approx(1, abs=1e-4)
    json.dumps(flat, allow_nan=False)
    assert all(isinstance(value, str | int | float) for value in flat.values())


def test_operating_points_and_recalibration_come_from_validation_alone(run):
    other = dataclasses.replace(run.test, logits=run.test.logits[::-1].copy())
    changed = dataclasses.replace(run, test=other)
    samples = run_metrics.draw(run, OPTIONS)
    before, after = (run_metrics.measure(predicted, samples, OPTIONS)[1] for predicted in (run, changed))
    for name in ("threshold_sensitive_logit", "threshold_specific_logit", "recalibration_slope", "did_not_train"):
        assert before[name] == after[name]
    assert before["test_tn"] != after["test_tn"]


@pytest.mark.parametrize(
    ("logits", "auc", "said"),
    [
        ([-1.0] * 99 + [1.0], 0.9, True),
        ([-1.0] * 98 + [1.0] * 2, 0.9, False),
        ([0.0] * 99 + [-1.0], 0.9, True),  # at the threshold is above it
        ([-1.0, 1.0], 0.59, True),
        ([-1.0, 1.0], 0.6, False),
        ([-1.0, 1.0], float("nan"), True),
    ],
)
def test_a_run_of_one_class_or_of_no_ranking_did_not_train(logits, auc, said):
    assert run_metrics.did_not_train(np.array(logits), 0.0, auc) is said


def test_thresholds_stand_on_the_scale_of_the_served_score(run):
    facts = run_metrics.measure(run, run_metrics.draw(run, OPTIONS), OPTIONS)[1]
    recalibrated = facts["recalibration_intercept"] + facts["recalibration_slope"] * facts["threshold_sensitive_logit"]
    assert facts["threshold_sensitive"] == pytest.approx(1 / (1 + np.exp(-recalibrated)))
    assert facts["threshold"] == pytest.approx(1 / (1 + np.exp(-facts["recalibration_intercept"])))
    assert run_metrics.served_score(0.0, None) == 0.5, "as trained where there is no recalibration"


def test_the_slope_after_recalibration_is_the_one_fitted_to_recalibrated_logits(run):
    samples = run_metrics.draw(run, OPTIONS)
    estimates, facts = run_metrics.measure(run, samples, OPTIONS)
    fitted = calibration.Recalibration(facts["recalibration_intercept"], facts["recalibration_slope"])
    again = calibration.slope(run.test.labels, fitted(run.test.logits), samples.test)
    np.testing.assert_allclose(estimates["test_calibration_slope_recalibrated"], again, rtol=5e-3)


def test_a_run_whose_network_is_not_kept_has_no_metrics_under_unseen_changes(run, tmp_path):
    samples = run_metrics.draw(run, OPTIONS)
    lost = dataclasses.replace(run, unseen={})
    without = run_metrics.summary(lost, *run_metrics.measure(lost, samples, OPTIONS))
    assert without["unseen_auc"] == "undefined" and not any(key.startswith("unseen_haze") for key in without)
    write_run(tmp_path / "vgg16-raw-0", image_rows(SMALL))
    kept = predictions.read(tmp_path / "vgg16-raw-0")
    assert run_metrics.headline(kept, run_metrics.draw(kept, OPTIONS), OPTIONS)["unseen_auc"][0] > 0.5
    same = dataclasses.replace(run, unseen={"haze": run.validation.logits})
    estimates, _ = run_metrics.measure(same, samples, OPTIONS)
    np.testing.assert_allclose(estimates["unseen_auc"], estimates["validation_auc"])


def test_stressed_images_meet_the_thresholds_of_clean_validation(run):
    samples = run_metrics.draw(run, OPTIONS)
    same = dataclasses.replace(run, stress={"nothing": run.validation.logits, "dark": run.validation.logits - 2})
    estimates, facts = run_metrics.measure(same, samples, OPTIONS)
    for key in ("auc", "sensitivity_at_sensitive", "specificity_at_specific", "sensitivity"):
        np.testing.assert_allclose(estimates[f"stress_nothing_{key}"], estimates[f"validation_{key}"])
    threshold = facts["threshold_sensitive_logit"]
    shifted = np.mean(run.validation.logits[run.validation.labels] - 2 >= threshold)
    assert estimates["stress_dark_sensitivity_at_sensitive"][0] == pytest.approx(shifted)
    pooled = np.concatenate([run.validation.logits, run.validation.logits - 2])
    expected = sklearn_metrics.roc_auc_score(np.tile(run.validation.labels, 2), pooled)
    assert estimates["stress_auc"][0] == pytest.approx(expected)


def test_what_is_undefined_says_so_and_hides_nothing_else(tmp_path):
    rows = [row for row in image_rows(SMALL) if row[3] != "viral"]
    write_run(tmp_path / "vgg16-raw-0", rows)
    write_logits(tmp_path / "vgg16-raw-0", rows, np.full(len(rows), 0.7))  # a network that did not train
    run = predictions.read(tmp_path / "vgg16-raw-0")
    flat = run_metrics.summary(run, *run_metrics.measure(run, run_metrics.draw(run, OPTIONS), OPTIONS))
    assert flat["did_not_train"] is True
    for name in (
        "test_viral_auc",
        "test_viral_sensitivity",
        "test_npv",
        "test_precision_normal",
        "test_calibration_slope",
    ):
        assert (flat[name], flat[f"{name}_low"]) == ("undefined", "undefined"), name
    for name in ("threshold_specific", "recalibration_slope", "test_brier_recalibrated", "test_tn_at_specific"):
        assert flat[name] == "undefined", name
    assert (flat["test_sensitivity"], flat["test_specificity"], flat["test_auc"]) == (1.0, 0.0, 0.5)
    json.dumps(flat, allow_nan=False)


def test_a_run_that_did_not_train_comes_with_the_line_that_trains_it_again():
    raw = yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8"))["train"]["runs"]
    options = project_settings.load()
    for run, rate, tenth in (
        ("custom_cnn-raw-0", "learning_rate", 0.0001),
        ("xception-balanced-0", "finetune_learning_rate", 0.0001),
        ("inception_v3-robust-0", "finetune_learning_rate", 0.00001),
    ):
        ((name, line),) = yaml.safe_load(advice(options, run).split("train.runs: ")[1]).items()
        assert name == f"{run}-low"
        assert line == raw[run] | {rate: tenth}, "everything as before, but the rate"
    assert advice(options, "baseline") == ""


def test_learning_is_read_from_the_history(run):
    told = run_metrics.training(run)  # validation accuracy 1 - .3 / epoch: .7, .85, .9, .925, .94
    assert told["epochs_to_95"] == 3
    assert told["training_gap"] == pytest.approx(0.02)
