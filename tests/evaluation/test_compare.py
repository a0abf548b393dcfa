"""evaluate and compare as real processes on small prediction files."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline import paths, settings
from pipeline.data.tables import read_table
from pipeline.evaluation import contrasts, predictions, run_metrics, tables
from tests.compared_fixture import COLLAPSED, DONE, NOT_RUN, ROWS, SHORT, project, stage


def written(root: Path) -> dict[str, bytes]:
    """Every file below metrics/ and plots/."""
    files = [path for folder in ("metrics", "plots") for path in sorted((root / folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_a_second_time_writes_the_same_bytes(compared, tmp_path):
    again = project(tmp_path)
    stage("evaluate", again)
    stage("compare", again)
    assert written(again) == written(compared)


def test_every_run_of_the_table_has_a_row_whether_it_ran_or_not(compared):
    rows = {row["run"]: row for table in ("table2", "table3") for row in read_table(compared / f"metrics/{table}.csv")}
    assert list(read_table(compared / "metrics/table2.csv")[0]) == tables.columns()
    for name in NOT_RUN:
        assert rows[name]["status"] == "not run"
        assert rows[name]["accuracy"] == ""
    assert set(rows) == set(DONE) | set(NOT_RUN)
    assert [name for name in DONE if rows[name]["status"] == "did not train"] == [COLLAPSED]
    assert [name for name in rows if rows[name]["unfinished"]] == [SHORT]
    row = rows["custom_cnn-balanced-0"]
    assert (row["weights"], row["backend"], row["epochs"], row["seed"]) == ("random", "tensorflow", "5", "0")
    assert (row["seeds"], rows["densenet121-balanced-0"]["seeds"]) == ("2", "1")
    assert rows["custom_cnn-augmented-0-steps"]["seeds"] == "1", "a control is no further seed"
    assert rows["custom_cnn-augmented-0"]["seeds"] == "2"
    flat = json.loads((compared / "metrics/runs/custom_cnn-balanced-0.json").read_text())
    assert float(row["accuracy_low"]) == flat["test_accuracy_low"]


def test_published_metrics_stand_beside_the_run_that_they_belong_to(compared):
    rows = {row["run"]: row for table in ("table2", "table3") for row in read_table(compared / f"metrics/{table}.csv")}
    row = rows["custom_cnn-balanced-0"]
    assert [row[f"published_{name}"] for name in ("accuracy", "loss", "recall_normal", "f1_pneumonia", "tn")] == [
        "0.9263",
        "0.24",
        "0.85",
        "0.94",
        "198",
    ]
    assert float(row["published_accuracy_low"]) == pytest.approx(0.9031, abs=1e-3)
    assert rows["densenet121-augmented-0"]["published_auc_of_rounded"] == ""
    for name in ("custom_cnn-balanced-1", "custom_cnn-augmented-0-steps", "densenet121-balanced-0-random"):
        assert rows[name]["published_accuracy"] == ""


def test_study_json_is_what_dvc_metrics_shows_and_stays_short(compared):
    study = json.loads((compared / "metrics/study.json").read_text())
    assert set(study["validation_auc"]) == set(DONE)
    named = json.loads((compared / "metrics/candidate.json").read_text())["run"]
    flat = json.loads((compared / f"metrics/runs/{named}.json").read_text())
    assert study["candidate"] == {"run": named} | {name: flat[name] for name in tables.STUDY}
    assert all(isinstance(value, float) for value in study["validation_auc"].values())


def test_contrasts_are_paired_differences_of_the_runs_that_may_be_compared(compared):
    rows = read_table(compared / "metrics/contrasts.csv")
    by_metric = {(row["contrast"], row["figure"]): row for row in rows if row["finished"]}
    balanced = by_metric["balanced - augmented", "test_auc"]
    seeds = "5 epochs, 2 seeds: [+-]0[.][0-9]{3}, [+-]0[.][0-9]{3}"
    assert re.fullmatch(
        rf"custom_cnn [+]0[.][0-9]{{3}} [(]{seeds}[)]; densenet121 [+-]0[.][0-9]{{3}} [(]5 epochs[)]", balanced["over"]
    )
    assert balanced["opposed"] == balanced["left_out"] == ""
    mixed = by_metric["augmented - raw", "test_auc"]
    assert re.fullmatch(r"custom_cnn [+]0[.][0-9]{3} [(]5 epochs[)]", mixed["over"])
    assert mixed["left_out"] == f"{COLLAPSED} less vgg16-raw-0 (did not train: {COLLAPSED})"
    apart = next(row for row in rows if row["contrast"] == "augmented - raw" and not row["finished"])
    assert apart["left_out"] == f"densenet121-augmented-0 less {SHORT} (unequal epochs: 5 and 3)"
    assert (apart["difference"], apart["p_holm"]) == ("undefined", ""), "what is unfinished is not tested"
    order = [row["finished"] for row in rows if row["kind"] == "planned"]
    assert order == sorted(order, reverse=True), "finished pairs first"

    options = settings.load(compared / "params.yaml")
    runs = predictions.read_all(compared / "predictions")
    samples = run_metrics.draw(runs["custom_cnn-raw-0"], options.evaluate)
    aucs = {name: run_metrics.headline(run, samples, options.evaluate)["test_auc"] for name, run in runs.items()}
    by_hand = np.mean(
        [
            (aucs["custom_cnn-balanced-0"] - aucs["custom_cnn-augmented-0"]) / 2
            + (aucs["custom_cnn-balanced-1"] - aucs["custom_cnn-augmented-1"]) / 2,
            aucs["densenet121-balanced-0"] - aucs["densenet121-augmented-0"],
        ],
        axis=0,
    )
    assert float(balanced["difference"]) == pytest.approx(by_hand[0], abs=1e-5)
    assert float(balanced["low"]) == pytest.approx(np.quantile(by_hand[1:], 0.025), abs=1e-5)

    transfer = by_metric[contrasts.TRANSFER, "test_auc"]
    assert transfer["missing"] == "densenet121-robust-0, densenet121-robust-0-random"
    assert transfer["over"].startswith("balanced ")
    assert by_metric[contrasts.EQUAL_STEPS, "test_auc"]["over"].startswith("custom_cnn ")
    tested = [row for row in rows if row["kind"] == "planned" and row["p_holm"] not in ("", "undefined")]
    assert {row["figure"] for row in tested} == set(contrasts.DECIDING)
    assert all(float(row["p_holm"]) >= float(row["p"]) for row in tested)
    cost = by_metric["cost of the release: candidate - released", "validation_auc"]
    named = json.loads((compared / "metrics/candidate.json").read_text())
    assert [float(cost[key]) for key in ("difference", "low", "high")] == named["released"]["cost_validation_auc"]


def test_the_best_finished_run_meets_the_best_of_each_other_network(compared):
    rows = [row for row in read_table(compared / "metrics/contrasts.csv") if row["kind"] == "winner"]
    stressed = {
        name: json.loads((compared / f"metrics/runs/{name}.json").read_text())["stress_auc"]
        for name in DONE
        if name not in (SHORT, COLLAPSED, "custom_cnn-augmented-0-steps", "densenet121-balanced-0-random")
    }
    best: dict[str, str] = {}
    for name in sorted(stressed, key=stressed.get, reverse=True):
        best.setdefault(name.split("-")[0], name)
    first, *rest = best.values()
    assert {row["contrast"] for row in rows} == {f"{first} - {other}" for other in rest}


def facts_of(**runs: tuple[int, str, bool]) -> dict[str, dict[str, object]]:
    """Facts of vgg16 on `group`: epochs, start, and whether it did not train."""
    return {
        f"vgg16-{group}-0": {
            "network": "vgg16", "group": group, "seed": 0, "epochs": epochs, "weights": weights, "did_not_train": idle
        }
        for group, (epochs, weights, idle) in runs.items()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("augmented", "raw", "finished", "reason"),
    [
        ((15, "imagenet", False), (15, "imagenet", False), True, None),
        ((15, "imagenet", False), (3, "imagenet", False), False, "unequal epochs: 15 and 3"),
        ((15, "imagenet", False), (16, "imagenet", False), True, "unequal epochs: 15 and 16"),
        ((15, "imagenet", False), (15, "random", False), True, "unequal starts: imagenet and random"),
        ((15, "imagenet", True), (15, "imagenet", False), True, "did not train: vgg16-augmented-0"),
        ((3, "random", False), (3, "random", False), False, None),
    ],
)
def test_what_cannot_be_compared_is_left_out_with_the_reason(augmented, raw, finished, reason):
    facts = facts_of(augmented=augmented, raw=raw)
    estimates = {name: {metric: np.array([0.9, 0.8, 1.0]) for metric in contrasts.METRICS} for name in facts}
    planned = contrasts.planned(estimates, facts, epochs=15)
    assert [contrast.metric for contrast in planned] == list(contrasts.METRICS)
    assert {contrast.finished for contrast in planned} == {finished}
    pair = "vgg16-augmented-0 less vgg16-raw-0"
    assert {contrast.left_out for contrast in planned} == {f"{pair} ({reason})" if reason else ""}
    assert tables.contrast_rows(planned)[0]["difference"] == ("undefined" if reason else 0)


def test_a_pair_without_a_metric_is_left_out_of_that_metric_alone():
    facts = facts_of(augmented=(15, "imagenet", False), raw=(15, "imagenet", False))
    estimates = {name: {metric: np.array([0.9, 0.8, 1.0]) for metric in contrasts.METRICS} for name in facts}
    estimates["vgg16-raw-0"]["unseen_auc"] = np.full(3, np.nan)
    by_metric = {contrast.metric: contrast for contrast in contrasts.planned(estimates, facts, epochs=15)}
    assert by_metric["unseen_auc"].left_out == "vgg16-augmented-0 less vgg16-raw-0 (not measured)"
    assert by_metric["stress_auc"].left_out == "" and by_metric["stress_auc"].value == 0


def test_networks_on_opposite_sides_are_named():
    facts = facts_of(augmented=(15, "random", False), raw=(15, "random", False))
    other = {name.replace("vgg16", "xception"): fact | {"network": "xception"} for name, fact in facts.items()}
    values = {"vgg16-augmented-0": 0.9, "vgg16-raw-0": 0.5, "xception-augmented-0": 0.5, "xception-raw-0": 0.9}
    estimates = {name: {metric: np.full(3, value) for metric in contrasts.METRICS} for name, value in values.items()}
    assert all(
        contrast.opposed and contrast.value == 0 for contrast in contrasts.planned(estimates, facts | other, epochs=15)
    )


def test_figures_hold_every_run_and_no_date(compared):
    drawn = {path.name for path in (compared / "plots/study").iterdir()}
    assert drawn == {
        *("confusion-custom_cnn.svg", "confusion-transfer.svg", "roc-custom_cnn.svg", "roc-transfer.svg"),
        *("training-accuracy.svg", "training-loss.svg", "reliability.svg", "forest.svg", "stress.svg"),
    }
    forest = (compared / "plots/study/forest.svg").read_text()
    assert all(name in forest for name in DONE)
    # A network of which nothing ran, and a group of which nothing ran, have their panels all the same.
    for name in ("confusion-transfer", "training-accuracy"):
        panels = (compared / f"plots/study/{name}.svg").read_text()
        assert "resnet50, balanced" in panels and "not run" in panels, name
    assert "custom_cnn, robust" in (compared / "plots/study/confusion-custom_cnn.svg").read_text()
    assert "dc:date" not in forest
    assert f"{COLLAPSED} (5 epochs, did not train)" in forest and f"{SHORT} (3 epochs)" in forest
    assert not any("data:image" in path.read_text() for path in (compared / "plots/study").iterdir()), (
        "no pixels in git"
    )


def rows_of(table, name):
    return [row for row in read_table(table) if row["run"] == name]


def test_curves_of_the_sample_start_and_end_in_the_corners(compared):
    curves = compared / "plots" / "curves"
    for name in DONE:
        flat = json.loads((compared / f"metrics/runs/{name}.json").read_text())
        for split in ("validation", "test"):
            points = [(float(row["fpr"]), float(row["tpr"])) for row in rows_of(curves / f"roc-{split}.csv", name)]
            assert (points[0], points[-1]) == ((0, 0), (1, 1))
            assert points == sorted(points)
            x, y = np.array(points).T
            assert np.trapezoid(y, x) == pytest.approx(flat[f"{split}_auc"], abs=1e-3)
            for suffix in ("", "-recalibrated"):
                bins = rows_of(curves / f"reliability-{split}{suffix}.csv", name)
                # Two runs have no recalibration: one tells its validation images apart without error, one not at all.
                assert bins or (suffix and name in ("inception_v3-balanced-0", COLLAPSED))
                expected = sum(row[1] == split for row in ROWS) if bins else 0
                assert sum(int(row["pictures"]) for row in bins) == expected
        epochs = [int(row["epoch"]) for row in rows_of(curves / "training.csv", name)]
        assert epochs == list(range(1, flat["epochs"] + 1))


def test_a_broken_prediction_file_stops_evaluate_and_leaves_the_last_metrics(compared, tmp_path):
    root = tmp_path / "broken"
    shutil.copytree(compared, root)
    before = written(root)
    target = root / "predictions/custom_cnn-raw-0/images.csv"
    target.write_text(target.read_text().replace(",validation,", ",train,", 1))
    said = stage("evaluate", root, ok=False)
    assert said.strip().splitlines()[-1].startswith("evaluate: predictions/custom_cnn-raw-0/images.csv, line 2")
    assert "Traceback" not in said
    assert written(root) == before


def test_compare_without_predictions_says_what_to_do(tmp_path):
    shutil.copy(paths.PARAMS, tmp_path)
    for name in ("evaluate", "compare"):
        assert "train one first" in stage(name, tmp_path, ok=False)


def test_starting_costs_no_framework(compared):
    script = "import sys; import pipeline.stages.evaluate as e; e.main(); print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PIPELINE_ROOT": str(compared)},
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    # Pillow is there: the families of changes say whether a run was measured with them as they are.
    heavy = {"tensorflow", "keras", "jax", "torch", "pandas", "scipy", "sklearn", "matplotlib", "mlflow", "onnx"}
    assert not heavy & set(done.stdout.split())
