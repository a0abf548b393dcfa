"""Three outcomes, two thresholds, and contracts of either age."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import outcomes, paths
from pipeline.errors import ProjectError
from pipeline.inference import Outputs
from pipeline.outcomes import INDETERMINATE, NONE, SIGNS, Threshold, Thresholds
from pipeline.serving import model, schemas
from tests.champion_fixture import write_champion

CHAMPIONS = sorted((Path(__file__).resolve().parents[1] / "models" / "champions").glob("*/contract.json"))
share = st.floats(0, 1)


def old(sensitive: float, specific: float) -> dict[str, Any]:
    points = {"sensitive": sensitive, "specific": specific}
    return {"operating_points": {name: {"threshold": each, "bound": 0.95} for name, each in points.items()}}


def new(lower: float, upper: float) -> dict[str, Any]:
    return {"thresholds": {"lower": {"score": lower, "criterion": "a"}, "upper": {"score": upper, "criterion": "b"}}}


def test_the_words_are_the_agreed_ones() -> None:
    assert (NONE, INDETERMINATE, SIGNS) == (
        "no pneumonia detected",
        "indeterminate: the network does not decide",
        "signs of pneumonia",
    )
    assert outcomes.CAUTION == "Other abnormalities are not assessed. Every image needs a radiologist's reading."
    assert outcomes.CAUTION in schemas.NOTICE


@given(share, share)
def test_points_of_an_old_contract_are_sorted_and_keep_what_they_were_fixed_for(
    sensitive: float, specific: float
) -> None:
    read = outcomes.thresholds(old(sensitive, specific))
    assert [limit.score for limit in read] == sorted((sensitive, specific))
    fixed_for = {limit.score: limit.criterion for limit in read}
    if sensitive != specific:
        assert "sensitivity at least 0.95" in fixed_for[sensitive]
        assert "specificity at least 0.95" in fixed_for[specific]


@given(share, share)
def test_thresholds_of_a_new_contract_are_in_order(left: float, right: float) -> None:
    lower, upper = sorted((left, right))
    assert [limit.score for limit in outcomes.thresholds(new(lower, upper))] == [lower, upper]


@given(share, share, share, share)
def test_a_higher_score_never_has_a_milder_outcome(left: float, right: float, first: float, second: float) -> None:
    limits = outcomes.thresholds(old(first, second))
    order = [NONE, INDETERMINATE, SIGNS]
    mild, grave = (order.index(outcomes.outcome(score, limits)) for score in sorted((left, right)))
    assert mild <= grave


@pytest.mark.parametrize(
    ("score", "said"),
    [(0.3999, NONE), (0.4, INDETERMINATE), (0.5999, INDETERMINATE), (0.6, SIGNS), (0.0, NONE), (1.0, SIGNS)],
)
def test_a_score_at_a_threshold_has_reached_it(score: float, said: str) -> None:
    assert outcomes.outcome(score, Thresholds(Threshold(0.4, ""), Threshold(0.6, ""))) == said


def test_equal_thresholds_leave_nothing_undecided() -> None:
    limits = outcomes.thresholds(old(0.5, 0.5))
    assert {outcomes.outcome(score, limits) for score in np.linspace(0, 1, 101)} == {NONE, SIGNS}


@pytest.mark.parametrize(
    "broken", [{}, old(0.5, 1.5), old(float("nan"), 0.5), new(-0.1, 0.5), {"thresholds": {"lower": {"score": 0.1}}}]
)
def test_a_contract_without_two_thresholds_is_named_as_such(broken: dict[str, Any]) -> None:
    with pytest.raises(ProjectError, match="threshold"):
        outcomes.thresholds(broken)


@pytest.mark.parametrize("path", CHAMPIONS, ids=lambda path: path.parent.name)
def test_every_committed_champion_can_be_read(path: Path) -> None:
    kept = json.loads(path.read_text())
    lower, upper = outcomes.thresholds(kept)
    assert 0 < lower.score <= upper.score < 1
    assert "patient's risk" in outcomes.calibration(kept)


def test_the_sentence_on_calibration_follows_the_interval() -> None:
    def said(value: float, low: float, high: float) -> str:
        estimate = {"value": value, "low": low, "high": high}
        return outcomes.calibration({"figures": {"test": {"calibration_intercept_recalibrated": estimate}}})

    assert "overestimates: calibration intercept -3.08 (95 % interval -3.51 to -2.63)" in said(
        -3.07649, -3.51387, -2.62816
    )
    assert "underestimates" in said(1, 0.5, 1.5)
    assert "right on average" in said(0.1, -0.2, 0.4)
    assert "not known" in outcomes.calibration({"figures": {"test": {}}})
    assert "not known" in said("undefined", "undefined", "undefined")  # type: ignore[arg-type]


def served(root: Path, monkeypatch: pytest.MonkeyPatch) -> model.Model:
    checkout = Path(paths.__file__).resolve().parents[1]
    for name in ("ROOT", "CHAMPIONS", "CHAMPION", "SALIENCY"):
        if (path := getattr(paths, name)).is_relative_to(checkout):  # not yet moved in this test
            monkeypatch.setattr(paths, name, root / path.relative_to(checkout))
    return model.load(model.champion_version(), 1)


def test_a_score_that_is_no_number_is_no_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_champion(tmp_path)
    champion = served(tmp_path, monkeypatch)
    evidence = np.zeros((8, 8), np.float32)
    assert schemas.answer(champion, Outputs(0.0, 0.5, evidence), [], None, 0.0).outcome == INDETERMINATE
    with pytest.raises(ValueError, match="score"):
        schemas.answer(champion, Outputs(float("nan"), float("nan"), evidence), [], None, 0.0)


def test_the_card_has_the_thresholds_in_order_and_the_checks_of_its_own_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_champion(tmp_path, **old(0.9, 0.6))
    (tmp_path / "metrics" / "explain").mkdir(parents=True)
    summary = tmp_path / "metrics" / "explain" / "summary.json"
    checks = {"border": {"asks": "a", "found": "b", "passes": False}}
    for run, known in (("tiny", checks), ("another", None)):
        summary.write_text(json.dumps({"run": run, "checks": checks}))
        card = served(tmp_path, monkeypatch).card()
        assert card["saliency_checks"] == known
    assert [card["thresholds"][name]["score"] for name in ("lower", "upper")] == [0.6, 0.9]
    assert "specificity" in card["thresholds"]["lower"]["criterion"]
    summary.unlink()
    assert served(tmp_path, monkeypatch).card()["saliency_checks"] is None


def test_a_champion_without_thresholds_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_champion(tmp_path)
    (path,) = (tmp_path / "models" / "champions").glob("*/contract.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"operating_points": {}}))
    with pytest.raises(ProjectError, match=r"models/champions/tiny-\w+/contract.json: the contract's thresholds"):
        served(tmp_path, monkeypatch)
