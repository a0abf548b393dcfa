"""Every run of the table asked as a candidate: the table, its counts, and that no rule reads the official test."""

import json
import shutil

import champion_fixture
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.data.tables import read_table
from pipeline.evaluation import predictions
from pipeline.registry import validation_predictions
from pipeline.registry.validation_predictions import Validation
from tests.candidate_fixture import command
from tests.compared_fixture import DONE, NOT_MEASURED, ROWS, project
from tests.fake_predictions import write_logits

OWN = "densenet121-augmented-0"
VERSION = f"{OWN}-12345678"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The drawn study, and a champion that is one of its runs."""
    root = project(tmp_path_factory.mktemp("gate-check"))
    run = predictions.read(root / "predictions" / OWN)
    folder = root / "models" / "champions" / VERSION
    folder.mkdir(parents=True)
    validation_predictions.write(folder, Validation(run.validation, run.stress, run.unseen))
    terms = champion_fixture.contract(VERSION) | {"run": OWN, "dataset": "chest-xray-pneumonia", "files": {}}
    terms |= {"recalibration": {"intercept": 0, "slope": 1}}
    (folder / "contract.json").write_text(json.dumps(terms))
    event = {"version": VERSION, "action": "promote", "replaces": None}
    (root / "models" / "promotions.jsonl").write_text(json.dumps(event) + "\n")
    (root / "models" / "CHAMPION").write_text(f"{VERSION}\n")
    return root


@pytest.fixture(scope="module")
def asked(root):
    done = command(root, "pipeline.registry.gate_check")
    assert done.returncode == 0, done.stderr
    return done.stdout, {row["run"]: row for row in read_table(root / "metrics" / "gate-check.csv")}


def test_every_run_of_the_table_has_a_row_with_verdict_reasons_and_differences(root, asked):
    _, rows = asked
    assert rows.keys() == set(DONE)
    assert rows[OWN]["verdict"] == "the champion's own run"
    weak = rows["custom_cnn-raw-0"]
    assert weak["verdict"] == "rejected" and weak["reasons"].startswith("AUC (bound -0.")
    run, champion = (predictions.read(root / "predictions" / name) for name in ("custom_cnn-raw-0", OWN))
    for column, areas in {
        "test_auc": [roc_auc_score(held.test.labels, held.test.logits) for held in (run, champion)],
        "clean_auc": [roc_auc_score(held.validation.labels, held.validation.logits) for held in (run, champion)],
        "stressed_auc": [
            roc_auc_score(np.tile(held.validation.labels, 11), np.concatenate(list(held.unseen.values())))
            for held in (run, champion)
        ],
    }.items():
        assert float(weak[column]) == pytest.approx(areas[0] - areas[1], abs=1e-4)
        assert float(weak[f"{column}_low"]) < float(weak[column]) < float(weak[f"{column}_high"])


def test_a_run_that_was_not_measured_is_listed_and_counted_in_no_share(asked):
    said, rows = asked
    row = rows[NOT_MEASURED]
    assert (row["verdict"], row["reasons"]) == ("not measured", "network not kept")
    assert row["stressed_auc"] == row["stressed_log_loss_low"] == ""
    assert row["clean_auc"] and row["test_auc"]
    verdicts = [held["verdict"] for held in rows.values()]
    passed, rejected = verdicts.count("passes"), verdicts.count("rejected")
    assert passed + rejected == len(DONE) - 2
    assert f"{passed + rejected} runs were measured" in said and f"{passed} pass, {rejected} are rejected" in said
    assert "1 were not measured" in said
    assert f"of {rejected} runs (rejected)" in said and f"of {passed} runs (passes)" in said


def test_no_verdict_reads_the_official_test(root, asked, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(root, other)
    test = np.array([row[1] == "test" for row in ROWS])
    for name in DONE:
        folder = other / "predictions" / name
        logits = np.array([float(row["logit"]) for row in read_table(folder / "images.csv")])
        write_logits(folder, ROWS, np.where(test, np.random.default_rng(0).permutation(logits), logits))
    assert command(other, "pipeline.registry.gate_check").returncode == 0
    rows = {row["run"]: row for row in read_table(other / "metrics" / "gate-check.csv")}
    for name, before in asked[1].items():
        assert {key: rows[name][key] for key in rows[name] if not key.startswith("test")} == {
            key: before[key] for key in before if not key.startswith("test")
        }
    assert rows["custom_cnn-raw-0"]["test_auc"] != asked[1]["custom_cnn-raw-0"]["test_auc"]


def test_a_champion_whose_run_was_trained_anew_says_nothing_of_the_official_test(root, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(root, other)
    folder = other / "predictions" / OWN
    logits = np.array([float(row["logit"]) for row in read_table(folder / "images.csv")])
    write_logits(folder, ROWS, logits + 2)
    done = command(other, "pipeline.registry.gate_check")
    assert done.returncode == 0 and "nothing is said of the official test" in done.stderr
    rows = {row["run"]: row for row in read_table(other / "metrics" / "gate-check.csv")}
    assert {row["test_auc"] for row in rows.values()} == {""}
    assert rows[OWN]["verdict"] in ("passes", "rejected"), "it is another network now"
