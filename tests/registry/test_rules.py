"""The gate's rules: what they measure, what they refuse to measure, and how often they are wrong."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import validation_fixture
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks import gate_power
from pipeline import settings
from pipeline.data.tables import read_table
from pipeline.evaluation import bootstrap, cross_fitting
from pipeline.registry import rules
from pipeline.registry.validation_predictions import Validation

SETTINGS = settings.load()
GATE = SETTINGS.gate
EVALUATE = SETTINGS.evaluate.model_copy(update={"resamples": 200})
decide = partial(rules.decide, serving="champion", gate=GATE, evaluate=EVALUATE)


def by_name(decided: list[rules.Rule]) -> dict[str, rules.Rule]:
    return {rule.name: rule for rule in decided}


def moved(logits_by_change, how):
    return {change: how(logits) for change, logits in logits_by_change.items()}


def test_the_first_champion_needs_the_minima_alone():
    (candidate,) = validation_fixture.networks(0, 0.99)
    against, decided = decide(candidate, {})
    assert against is None
    assert [rule.name for rule in decided] == [
        "sensitivity", "specificity", "stressed sensitivity", "stressed specificity",
    ]  # fmt: skip
    assert all(rule.passed for rule in decided)
    assert decided[0].limit == GATE.validation.min_sensitivity and decided[3].limit == GATE.stress.min_specificity


def test_a_weak_network_misses_a_floor_and_says_by_how_much():
    (candidate,) = validation_fixture.networks(0, 0.9)
    specificity = by_name(decide(candidate, {})[1])["specificity"]
    assert not specificity.passed
    assert specificity.bound < specificity.value < specificity.limit


def test_stress_counts_at_the_threshold_of_clean_images():
    (candidate,) = validation_fixture.networks(0, 0.99)
    # Every stressed logit moves up by a constant: the ranking, and so the AUC, stays; the threshold does not move along.
    shifted = replace(candidate, stress=moved(candidate.stress, lambda logits: logits + 5))
    assert by_name(decide(candidate, {})[1])["stressed specificity"].passed
    assert not by_name(decide(shifted, {})[1])["stressed specificity"].passed


def test_the_serving_champion_is_always_compared_and_the_best_on_record_beside_it():
    worse, best, candidate = validation_fixture.networks(0, 0.97, 0.998, 0.97)
    against, decided = decide(candidate, {"best": best, "champion": worse})
    assert against == "champion"
    verdict = by_name(decided)
    assert verdict["AUC"].passed and verdict["log loss"].passed
    assert "against champion champion" in verdict["AUC"].on
    assert not verdict["AUC, best"].passed and not verdict["log loss, best"].passed
    assert "against best on record best" in verdict["AUC, best"].on
    assert "AUC, best" not in by_name(decide(candidate, {"champion": worse})[1]), "one network is compared once"


def test_where_no_champion_of_this_data_set_serves_the_best_on_record_is_the_measure():
    worse, best, candidate = validation_fixture.networks(0, 0.97, 0.998, 0.97)
    against, decided = decide(candidate, {"worse": worse, "best": best}, serving=None)
    assert against == "best"
    assert not by_name(decided)["AUC"].passed and "AUC, best" not in by_name(decided)


def test_clean_metrics_are_minima_and_no_more():
    champion, candidate = validation_fixture.networks(0, 0.99, 0.99)
    weaker = replace(candidate.clean, logits=candidate.clean.logits + np.random.default_rng(0).normal(0, 0.7, 525))
    decided = by_name(decide(replace(candidate, clean=weaker), {"champion": champion})[1])
    plain = by_name(decide(candidate, {"champion": champion})[1])
    for name in ("AUC", "log loss"):
        assert decided[name] == plain[name], "what decides does not read the images as they are"
    assert decided["specificity"].bound < plain["specificity"].bound


def test_a_worse_calibrated_ranking_fails_by_log_loss():
    champion, candidate = validation_fixture.networks(0, 0.99, 0.99)
    # A power above 1 keeps every ranking; confident errors cost more.
    cubed = replace(candidate, unseen=moved(candidate.unseen, lambda logits: logits**3))
    decided, plain = (by_name(decide(validation, {"champion": champion})[1]) for validation in (cubed, candidate))
    assert decided["AUC"] == plain["AUC"]
    assert plain["log loss"].passed and not decided["log loss"].passed


def test_an_overall_change_of_scale_changes_nothing_because_calibration_is_cross_fitted():
    champion, candidate = validation_fixture.networks(1, 0.99, 0.99)

    def scale(logits):
        return 3 * logits - 1

    scaled = Validation(
        replace(candidate.clean, logits=scale(candidate.clean.logits)),
        moved(candidate.stress, scale),
        moved(candidate.unseen, scale),
    )
    plain, other = (decide(validation, {"champion": champion})[1] for validation in (candidate, scaled))
    for rule, same in zip(plain, other, strict=True):
        assert rule.passed == same.passed
        assert rule.bound == pytest.approx(same.bound, abs=1e-6)


def test_a_fold_is_called_by_what_the_other_folds_gave():
    (candidate,) = validation_fixture.networks(0, 0.99)
    clean = candidate.clean
    sample = bootstrap.draw(clean.labels, clean.patients, EVALUATE.resamples, EVALUATE.seed)
    fold = cross_fitting.deal(clean, GATE.folds, EVALUATE.seed)
    calls, _ = rules.cross_fitted_calls(candidate, sample, GATE.folds, EVALUATE)
    logits = np.stack(list(candidate.unseen.values()))
    recalibrated = cross_fitting.recalibrated(clean.labels, logits, fold)
    inside = fold == 2
    changed = clean.logits.copy()
    changed[inside & clean.labels] -= 3
    again, _ = rules.cross_fitted_calls(
        replace(candidate, clean=replace(clean, logits=changed)), sample, GATE.folds, EVALUATE
    )
    # Had the fold's own images set its threshold or its recalibration, its normal images would be answered otherwise now.
    untouched = inside & ~clean.labels
    np.testing.assert_array_equal(again[untouched], calls[untouched])
    assert not np.array_equal(again[~inside], calls[~inside])
    logits[:, inside & clean.labels] -= 3
    moved_too = cross_fitting.recalibrated(clean.labels, logits, fold)
    np.testing.assert_array_equal(moved_too[:, untouched], recalibrated[:, untouched])
    assert not np.allclose(moved_too[:, ~inside], recalibrated[:, ~inside])


def test_the_scores_are_those_of_scikit_learn():
    (candidate,) = validation_fixture.networks(0, 0.95)
    clean = candidate.clean
    sample = bootstrap.draw(clean.labels, clean.patients, 20, 0)
    decided = cross_fitting.scores(clean, candidate.unseen, sample, GATE.folds, EVALUATE.seed)
    logits = np.stack(list(candidate.unseen.values()))
    assert decided.auc[0] == pytest.approx(roc_auc_score(np.tile(clean.labels, len(logits)), logits.ravel()))
    fold = cross_fitting.deal(clean, GATE.folds, EVALUATE.seed)
    probabilities = np.empty_like(logits)
    for number in range(GATE.folds):
        inside, others = fold == number, fold != number
        fitted = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-9).fit(
            logits[:, others].reshape(-1, 1), np.tile(clean.labels[others], len(logits))
        )
        probabilities[:, inside] = fitted.predict_proba(logits[:, inside].reshape(-1, 1))[:, 1].reshape(len(logits), -1)
    assert decided.log_loss[0] == pytest.approx(
        log_loss(np.tile(clean.labels, len(logits)), probabilities.ravel()), abs=1e-6
    )


def test_a_patient_is_in_one_fold_and_every_fold_has_both_classes():
    (candidate,) = validation_fixture.networks(0, 0.99)
    fold = cross_fitting.deal(candidate.clean, 5, 0)
    for patient in set(candidate.clean.patients):
        assert len({fold[row] for row, name in enumerate(candidate.clean.patients) if name == patient}) == 1
    for number in range(5):
        assert set(candidate.clean.labels[fold == number]) == {False, True}


def test_nobody_is_compared_on_patients_that_the_champion_was_trained_on():
    champion, candidate = validation_fixture.networks(0, 0.99, 0.99)
    # The champion held out other patients: on the ones it was trained on it would be perfect, had it said anything.
    kept = np.arange(len(champion.clean.paths)) % 2 == 0
    held = champion.take(kept)
    decided = by_name(decide(candidate, {"champion": held})[1])
    ours = candidate.take(kept)
    sample = bootstrap.draw(ours.clean.labels, ours.clean.patients, EVALUATE.resamples, EVALUATE.seed)
    expected = [
        cross_fitting.scores(validation.clean, validation.unseen, sample, 5, 0).auc[0] for validation in (ours, held)
    ]
    assert decided["AUC"].value == pytest.approx(expected[0] - expected[1])
    assert decided["AUC"].on.startswith(f"{len(set(ours.clean.patients))} patients")


def test_images_are_paired_by_path_whatever_their_order():
    champion, candidate = validation_fixture.networks(0, 0.99, 0.985)
    shuffled = champion.take(np.random.default_rng(0).permutation(len(champion.clean.paths)))
    assert decide(candidate, {"a": champion})[1][0] == decide(candidate, {"a": shuffled})[1][0]


def test_too_few_patients_in_common_are_no_comparison():
    champion, candidate = validation_fixture.networks(0, 0.99, 0.99)
    few = champion.take(np.r_[0:5, len(champion.clean.paths) - 40 : len(champion.clean.paths)])
    against, decided = decide(candidate, {"old": few})
    assert against == "old"
    assert (decided[0].name, decided[0].passed) == ("comparison possible", False)
    assert "at least 10" in decided[0].on


@pytest.fixture(scope="module")
def power() -> dict[str, dict[str, float]]:
    """The committed simulation, by kind of candidate."""
    rows = read_table(gate_power.TABLE)
    return {row["candidate"]: {key: float(row[key]) for key in gate_power.COLUMNS[1:]} for row in rows}


def test_the_margins_are_those_that_were_simulated(power):
    assert {(row["auc_margin"], row["log_loss_margin"]) for row in power.values()} == {
        (GATE.auc_margin, GATE.log_loss_margin)
    }, "python -m benchmarks.gate_power"
    for name, row in power.items():
        area = -GATE.auc_margin if name.startswith("AUC lower") else None
        loss = GATE.log_loss_margin if name.startswith("log loss higher") else None
        if name.startswith("equal"):
            area, loss = 0, 0
        assert area is None or row["true_auc"] == pytest.approx(area, abs=1e-3), name
        assert loss is None or row["true_log_loss"] == pytest.approx(loss, abs=1e-3), name


def test_harm_at_a_margin_passes_1_in_20_at_most_and_an_equal_4_in_5_at_least(power):
    equals = {name: row["passes"] for name, row in power.items() if name.startswith("equal")}
    harmed = {name: row["passes"] for name, row in power.items() if not name.startswith("equal")}
    assert len(equals) == 2 and min(equals.values()) >= 0.8, equals
    assert len(harmed) == 4 and max(harmed.values()) <= 0.05, harmed


@pytest.fixture(scope="module")
def champion():
    return gate_power.read_champion(GATE.folds)


@pytest.mark.parametrize("name", ["equal, another network", "AUC lower by the margin, another network"])
def test_a_few_trials_of_the_simulation_agree_with_its_table(power, champion, name):
    kind = gate_power.Kind(name, gate_power.CORRELATIONS["another network"])
    if not name.startswith("equal"):
        kind = replace(
            kind, harm=gate_power.solve(champion, kind.correlation, gate_power.noisy, 0, -GATE.auc_margin, 3.0)
        )
    passed = 0
    for trial in range(15):
        incumbent, candidate = gate_power.draw(champion, kind, np.random.default_rng([99, trial]))
        passed += all(rule.passed for rule in decide(candidate, {"champion": incumbent})[1])
    low, high = bootstrap.wilson(passed, 15, 0.999)
    assert low <= power[name]["passes"] <= high
