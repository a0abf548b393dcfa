"""The gate's rules: what they measure, what they refuse to measure, and how often they are wrong."""

from dataclasses import replace
from functools import partial

import answers_fixture
import numpy as np
import pytest

from pipeline import settings
from pipeline.evaluation import bootstrap
from pipeline.registry import rules
from pipeline.registry.validation_predictions import Validation

SETTINGS = settings.load()
GATE = SETTINGS.gate
EVALUATE = SETTINGS.evaluate.model_copy(update={"resamples": 200})
decide = partial(rules.decide, gate=GATE, evaluate=EVALUATE)


def by_name(found: list[rules.Rule]) -> dict[str, rules.Rule]:
    return {rule.name: rule for rule in found}


def relabelled(validation: Validation, **fields) -> Validation:
    return Validation(replace(validation.clean, **fields), validation.stress)


def test_the_first_champion_needs_the_minima_alone():
    (candidate,) = answers_fixture.networks(0, 0.99)
    against, found = decide(candidate, {})
    assert against is None
    assert [rule.name for rule in found] == [
        "sensitivity", "specificity", "stressed sensitivity", "stressed specificity",
    ]  # fmt: skip
    assert all(rule.passed for rule in found)
    assert found[0].limit == GATE.validation.min_sensitivity and found[3].limit == GATE.stress.min_specificity


def test_a_weak_network_misses_a_floor_and_says_by_how_much():
    (candidate,) = answers_fixture.networks(0, 0.9)
    specificity = by_name(decide(candidate, {})[1])["specificity"]
    assert not specificity.passed
    assert specificity.bound < specificity.value < specificity.limit


def test_stress_counts_at_the_threshold_of_clean_pictures():
    (candidate,) = answers_fixture.networks(0, 0.99)
    # Every stressed logit moves up by a constant: the ranking, and so the AUC, stays; the threshold does not move along.
    shifted = Validation(candidate.clean, {change: logits + 5 for change, logits in candidate.stress.items()})
    assert by_name(decide(candidate, {})[1])["stressed specificity"].passed
    assert not by_name(decide(shifted, {})[1])["stressed specificity"].passed


def test_the_best_champion_on_record_is_the_measure_not_the_last():
    worse, best, candidate = answers_fixture.networks(0, 0.97, 0.998, 0.97)
    against, found = decide(candidate, {"best": best, "last": worse})
    assert against == "best"
    assert not by_name(found)["AUC"].passed
    assert by_name(decide(candidate, {"last": worse})[1])["AUC"].passed


def test_a_worse_calibrated_ranking_fails_by_log_loss():
    champion, candidate = answers_fixture.networks(0, 0.99, 0.99)
    # The order within a few confident answers is reversed: AUC hardly moves, confident errors cost log loss.
    logits = candidate.clean.logits.copy()
    wrong = np.argsort(np.where(candidate.clean.labels, logits, -np.inf))[-4:]
    logits[wrong] = -12
    found = by_name(decide(relabelled(candidate, logits=logits), {"champion": champion})[1])
    assert found["AUC"].value > -0.015
    assert not found["log loss"].passed


def test_an_overall_change_of_scale_changes_nothing_because_calibration_is_cross_fitted():
    champion, candidate = answers_fixture.networks(1, 0.99, 0.99)
    scaled = Validation(
        replace(candidate.clean, logits=3 * candidate.clean.logits - 1),
        {change: 3 * logits - 1 for change, logits in candidate.stress.items()},
    )
    plain, other = (decide(one, {"champion": champion})[1] for one in (candidate, scaled))
    for rule, same in zip(plain, other, strict=True):
        assert rule.passed == same.passed
        assert rule.bound == pytest.approx(same.bound, abs=1e-6)


def test_a_fold_is_called_by_what_the_other_folds_gave():
    (candidate,) = answers_fixture.networks(0, 0.99)
    clean = candidate.clean
    sample = bootstrap.draw(clean.labels, clean.patients, EVALUATE.resamples, EVALUATE.seed)
    fold = rules._folds(clean, GATE.folds, EVALUATE.seed)
    calls, _ = rules.cross_fitted_calls(candidate, sample, GATE.folds, EVALUATE)
    logits = rules.cross_fitted_logits(clean, GATE.folds, EVALUATE.seed)
    inside = fold == 2
    changed = clean.logits.copy()
    changed[inside & clean.labels] = clean.logits[inside & clean.labels] - 3
    moved = replace(clean, logits=changed)
    again, _ = rules.cross_fitted_calls(Validation(moved, candidate.stress), sample, GATE.folds, EVALUATE)
    # Had the fold's own pictures set its threshold, its normal pictures would be called otherwise now.
    untouched = inside & ~clean.labels
    np.testing.assert_array_equal(again[untouched], calls[untouched])
    np.testing.assert_allclose(
        rules.cross_fitted_logits(moved, GATE.folds, EVALUATE.seed)[untouched], logits[untouched]
    )
    assert not np.array_equal(again[~inside], calls[~inside])


def test_a_patient_is_in_one_fold_and_every_fold_has_both_classes():
    (candidate,) = answers_fixture.networks(0, 0.99)
    fold = rules._folds(candidate.clean, 5, 0)
    for patient in set(candidate.clean.patients):
        assert len({fold[row] for row, name in enumerate(candidate.clean.patients) if name == patient}) == 1
    for number in range(5):
        assert set(candidate.clean.labels[fold == number]) == {False, True}


def test_nobody_is_compared_on_patients_that_the_champion_was_trained_on():
    champion, candidate = answers_fixture.networks(0, 0.99, 0.99)
    # The champion held out other patients: on the ones it was trained on it would be perfect, had it said anything.
    kept = np.arange(len(champion.clean.paths)) % 2 == 0
    held = champion.take(kept)
    found = by_name(decide(candidate, {"champion": held})[1])
    ours = candidate.take(kept)
    sample = bootstrap.draw(ours.clean.labels, ours.clean.patients, EVALUATE.resamples, EVALUATE.seed)
    expected = [bootstrap.auc(one.clean.labels, one.clean.logits, sample)[0] for one in (ours, held)]
    assert found["AUC"].value == pytest.approx(expected[0] - expected[1])
    assert found["AUC"].on.startswith(f"{len(set(ours.clean.patients))} patients")


def test_pictures_are_paired_by_path_whatever_their_order():
    champion, candidate = answers_fixture.networks(0, 0.99, 0.985)
    shuffled = champion.take(np.random.default_rng(0).permutation(len(champion.clean.paths)))
    assert decide(candidate, {"a": champion})[1][0] == decide(candidate, {"a": shuffled})[1][0]


def test_too_few_patients_in_common_are_no_comparison():
    champion, candidate = answers_fixture.networks(0, 0.99, 0.99)
    few = champion.take(np.r_[0:5, len(champion.clean.paths) - 40 : len(champion.clean.paths)])
    against, found = decide(candidate, {"old": few})
    assert against == "old"
    assert (found[0].name, found[0].passed) == ("comparison possible", False)
    assert "at least 10" in found[0].on


def pass_rate(candidate_auc: float, champion_auc: float, trials: int) -> int:
    passed = 0
    for seed in range(trials):
        champion, candidate = answers_fixture.networks(seed, champion_auc, candidate_auc)
        passed += all(rule.passed for rule in decide(candidate, {"champion": champion})[1])
    return passed


@pytest.mark.parametrize("champion_auc", [pytest.param(0.99, marks=pytest.mark.slow), 0.995])
def test_an_equally_good_candidate_passes_at_least_80_times_in_100(champion_auc):
    assert pass_rate(champion_auc, champion_auc, 100) >= 80


@pytest.mark.parametrize("champion_auc", [pytest.param(0.99, marks=pytest.mark.slow), 0.995])
def test_a_candidate_at_the_margin_passes_at_most_5_times_in_100(champion_auc):
    assert pass_rate(champion_auc - GATE.auc_margin, champion_auc, 100) <= 5
