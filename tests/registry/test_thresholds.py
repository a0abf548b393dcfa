"""The two thresholds that `package` fixes: criteria, order, and how many images lie between them."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline import outcomes, settings
from pipeline.errors import ProjectError
from pipeline.evaluation import calibration, run_metrics
from pipeline.evaluation.calibration import Recalibration
from pipeline.evaluation.predictions import Predictions, Split
from pipeline.registry import thresholds

OPTIONS = settings.load().evaluate.model_copy(update={"resamples": 200})
AS_IS = Recalibration(0.0, 1.0)


def split(distance: float, seed: int, patients: int = 60) -> Split:
    """Two images of each of some patients, of either class, whose logits lie this many deviations apart."""
    random = np.random.default_rng(seed)
    labels = np.repeat([False, True], 2 * patients)
    names = [f"{label}-{place // 2}" for place, label in enumerate(labels)]
    logits = random.normal(np.where(labels, distance / 2, -distance / 2))
    return Split([f"{seed}-{place}" for place in range(len(labels))], labels, ["" for _ in labels], names, logits)


def run(distance: float) -> Predictions:
    clean = split(distance, 0)
    random = np.random.default_rng(1)
    stress = {f"change-{place}": clean.logits + random.normal(0, 0.3, len(clean.logits)) for place in range(3)}
    return Predictions("run", {}, clean, split(distance, 2), stress, {})


def fixed(distance: float) -> tuple[Predictions, run_metrics.Samples, dict]:
    predictions = run(distance)
    samples = run_metrics.draw(predictions, OPTIONS)
    points = thresholds.fix(predictions, samples, AS_IS, OPTIONS)
    told = {
        "contract": thresholds.for_contract(points, predictions, samples, AS_IS, OPTIONS),
        "indeterminate": thresholds.indeterminate(points, predictions, samples, AS_IS),
    }
    return predictions, samples, points | told


def test_classes_that_overlap_leave_images_undecided_between_a_sensitive_and_a_specific_threshold() -> None:
    predictions, _, results = fixed(2.0)
    stored = results["contract"]
    assert not stored["crossed"]
    assert stored["lower"]["score"] == results["sensitive"] < results["specific"] == stored["upper"]["score"]
    assert "sensitivity at least 0.95 on stressed validation" in stored["lower"]["criterion"]
    assert stored["lower"]["bounds"]["sensitivity"] >= 0.95 > stored["lower"]["bounds"]["specificity"]
    assert stored["upper"]["bounds"]["specificity"] >= 0.95 > stored["upper"]["bounds"]["sensitivity"]
    scores = calibration.sigmoid(predictions.test.logits)
    between = np.mean((scores >= results["sensitive"]) & (scores < results["specific"]))
    share = results["indeterminate"]["test"]
    assert share["value"] == pytest.approx(between, abs=1e-5) and share["low"] <= share["value"] <= share["high"]
    assert share["value"] > 0.2


def test_thresholds_that_cross_are_in_order_and_the_contract_says_so() -> None:
    _, _, results = fixed(6.0)
    stored = results["contract"]
    assert stored["crossed"] and stored["lower"]["score"] == results["specific"] < results["sensitive"]
    assert "specificity" in stored["lower"]["criterion"] and "sensitivity" in stored["upper"]["criterion"]
    for name in ("lower", "upper"):
        assert min(stored[name]["bounds"].values()) >= 0.95
    assert "lies below the one for sensitivity" in stored["order"] and "both criteria hold at both" in stored["order"]


def test_outcomes_read_what_the_contract_says() -> None:
    _, _, results = fixed(2.0)
    lower, upper = outcomes.thresholds({"thresholds": results["contract"]})
    assert (lower.score, upper.score) == (results["sensitive"], results["specific"])


def test_the_criterion_is_of_the_stressed_images_and_not_of_the_clean_ones() -> None:
    clean = run(3.0)
    worse = replace(clean, stress={"shift": clean.validation.logits - 1.0})
    before, after = (
        thresholds.fix(each, run_metrics.draw(each, OPTIONS), AS_IS, OPTIONS)
        for each in (replace(clean, stress={"same": clean.validation.logits}), worse)
    )
    assert after["sensitive"] < before["sensitive"]


def test_points_go_back_to_the_run_s_own_logit() -> None:
    recalibration = Recalibration(-1.5, 0.7)
    points = {"sensitive": 0.3, "specific": 0.8}
    logits = thresholds.logits(points, recalibration)
    scores = {name: float(calibration.sigmoid(recalibration(np.array([logit])))[0]) for name, logit in logits.items()}
    assert scores == pytest.approx(points)


def test_a_run_that_no_threshold_makes_sensitive_is_named() -> None:
    one_class = run(2.0)
    validation = replace(one_class.validation, labels=np.zeros(len(one_class.validation.labels), dtype=bool))
    run_of_one = replace(one_class, validation=validation)
    with pytest.raises(ProjectError, match="no threshold of run run is sensitive enough on stressed validation"):
        thresholds.fix(run_of_one, run_metrics.draw(run_of_one, OPTIONS), AS_IS, OPTIONS)
