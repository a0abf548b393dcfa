"""The candidate: the rule in params.yaml, what it reads, and what may be released."""

import csv
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.errors import ProjectError
from pipeline.evaluation import candidate
from pipeline.evaluation.cross_fitting import Scores
from pipeline.settings import Release, Start
from tests.compared_fixture import COLLAPSED, DONE, NOT_MEASURED, stage


def test_the_candidate_and_what_its_release_costs(compared):
    named = json.loads((compared / "metrics/candidate.json").read_text())
    assert named["run"] == named["best"] == "inception_v3-balanced-0"
    released = named["released"]
    assert released["run"] not in ("inception_v3-balanced-0", NOT_MEASURED)
    cost, low, high = released["cost_unseen_auc"]
    assert cost == pytest.approx(named["value"] - released["value"], abs=2e-5)
    assert low <= cost <= high
    assert {run["run"] for run in named["considered"]} == set(DONE) - {COLLAPSED, NOT_MEASURED}
    assert {run["run"]: run["not_released_because"] for run in named["considered"]} == {
        name: "inception_v3 from imagenet weights is excluded" if name.startswith("inception") else None
        for name in DONE
        if name not in (COLLAPSED, NOT_MEASURED)
    }


def test_who_cannot_be_the_candidate_is_named_with_the_reason(compared):
    named = json.loads((compared / "metrics/candidate.json").read_text())
    assert {run["run"]: run["because"] for run in named["left_out"]} == {
        COLLAPSED: "did not train", NOT_MEASURED: "network not kept",
    }  # fmt: skip
    measured = {name: json.loads((compared / f"metrics/runs/{name}.json").read_text()) for name in DONE}
    best = max(run["stress_auc"] for run in measured.values())
    assert measured[COLLAPSED]["stress_auc"] == best, "though it is the best of all under the first family"
    assert measured[NOT_MEASURED]["stress_auc"] > measured[named["released"]["run"]]["stress_auc"]


def test_permuting_the_test_predictions_changes_nothing_chosen(compared, tmp_path):
    root = tmp_path / "permuted"
    shutil.copytree(compared, root)
    rng = np.random.default_rng(0)
    for folder in (root / "predictions").iterdir():
        with (folder / "images.csv").open(newline="") as stream:
            header, *lines = list(csv.reader(stream))
        test = [place for place, line in enumerate(lines) if line[1] == "test"]
        answers = [lines[place][5:] for place in test]
        for place, source in zip(test, rng.permutation(len(test)), strict=True):
            lines[place][5:] = answers[source]
        with (folder / "images.csv").open("w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([header, *lines])
    stage("evaluate", root)
    stage("compare", root)
    assert (root / "metrics/candidate.json").read_bytes() == (compared / "metrics/candidate.json").read_bytes()
    for name in DONE:
        before, after = (
            json.loads((project / f"metrics/runs/{name}.json").read_text()) for project in (compared, root)
        )
        chosen = [key for key in before if key.startswith(("threshold", "recalibration", "validation", "stress"))]
        assert {key: before[key] for key in chosen} == {key: after[key] for key in chosen}
        assert before["test_auc"] != after["test_auc"]


REPLICATES = st.lists(st.floats(0.5, 1), min_size=5, max_size=5).map(np.array)
NOTHING_BARRED = Release(max_megabytes=1000, exclude=[])


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(REPLICATES, REPLICATES, st.integers(1, 5)), min_size=1))
def test_the_candidate_is_the_smallest_within_one_standard_error_of_the_best(drawn):
    scores = {run: Scores(auc, log_loss) for run, (auc, log_loss, _) in drawn.items()}
    sizes = {run: size for run, (*_, size) in drawn.items()}
    choice = candidate.choose(scores, sizes)
    best = scores[choice.best]
    assert best.auc[0] == max(score.auc[0] for score in scores.values())
    assert choice.auc_error == pytest.approx(np.std(best.auc[1:], ddof=1))
    assert choice.log_loss_error == pytest.approx(np.std(best.log_loss[1:], ddof=1))
    near = {
        run
        for run, score in scores.items()
        if score.auc[0] >= best.auc[0] - choice.auc_error
        and score.log_loss[0] <= best.log_loss[0] + choice.log_loss_error
    }
    assert choice.near == near and choice.run in near
    assert sizes[choice.run] == min(sizes[run] for run in near)
    backwards = dict(reversed(scores.items()))
    assert candidate.choose(backwards, sizes) == choice


def named(release: Release, weights: str = "float16"):
    scores = {
        "big": Scores(np.array([0.99, 0.98, 1.0]), np.array([0.1, 0.09, 0.11])),
        "small": Scores(np.array([0.95, 0.94, 0.96]), np.array([0.2, 0.19, 0.21])),
    }
    facts = {
        "big": {"network": "vgg16", "weights": "imagenet", "parameters": 15_000_000, "dataset": "phantom"},
        "small": {"network": "custom_cnn", "weights": "random", "parameters": 500_000, "dataset": "phantom"},
    }
    return candidate.name(scores, {run: score.auc for run, score in scores.items()}, facts, {}, release, weights)


def test_without_a_measured_run_there_is_no_candidate_and_the_line_says_why():
    with pytest.raises(
        ProjectError, match=r"no run can be the candidate \(vgg16-raw-0: network not kept\).*dvc repro stress"
    ):
        candidate.name({}, {}, {}, {"vgg16-raw-0": candidate.NOT_KEPT}, NOTHING_BARRED, "float16")


def test_an_equal_ranking_with_a_worse_log_loss_is_not_near():
    equal = Scores(np.array([0.99, 0.98, 1.0]), np.array([0.1, 0.09, 0.11]))
    worse = Scores(equal.auc, equal.log_loss + 0.05)
    assert candidate.choose({"big": equal, "small": worse}, {"big": 2, "small": 1}).run == "big"
    assert candidate.choose({"big": equal, "small": equal}, {"big": 2, "small": 1}).run == "small"


def test_what_may_not_be_released_is_named_with_the_reason():
    free = named(NOTHING_BARRED)
    assert (free["run"], free["released"]["run"]) == ("big", "big")
    assert free["released"]["cost_unseen_auc"] == [0.0, 0.0, 0.0]
    barred = named(Release(max_megabytes=1000, exclude=[Start(network="vgg16", weights="imagenet")]))
    assert (barred["run"], barred["released"]["run"]) == ("big", "small")
    assert barred["considered"][0]["not_released_because"] == "vgg16 from imagenet weights is excluded"
    other = Start(network="vgg16", weights="random")
    assert named(Release(max_megabytes=1000, exclude=[other]))["released"]["run"] == "big"
    assert named(Release(max_megabytes=45, exclude=[]))["released"]["run"] == "big"  # 30 MB as float16
    heavy = named(Release(max_megabytes=45, exclude=[]), "float32")
    assert heavy["released"]["run"] == "small"
    assert heavy["considered"][0]["not_released_because"] == "60.0 MB as float32, more than 45"
    both = [Start(network="vgg16", weights="imagenet"), Start(network="custom_cnn", weights="random")]
    assert named(Release(max_megabytes=1000, exclude=both))["released"] is None
