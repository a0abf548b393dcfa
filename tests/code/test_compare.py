"""evaluate, compare and the documents as real processes on small prediction files, and the rule of the candidate."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline import paths, settings
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import candidate, documents, formatting, measure, predictions, tables
from pipeline.settings import Release, Start
from tests.fake_predictions import SMALL, pictures, write_run

ROWS = pictures(SMALL)
PARAMETERS = {"custom_cnn": 558_849, "densenet121": 7_169_089, "inception_v3": 22_065_185, "resnet50": 23_850_113}
DONE = {  # name -> quality of its predictions; resnet50 and the robust group are not run
    "custom_cnn-augmented-0": 2.6,
    "custom_cnn-balanced-0": 2.8,
    "custom_cnn-raw-0": 1.6,
    "custom_cnn-augmented-1": 2.5,
    "custom_cnn-balanced-1": 2.9,
    "custom_cnn-augmented-0-steps": 2.7,
    "densenet121-augmented-0": 3.0,
    "densenet121-raw-0": 2.4,
    "densenet121-balanced-0": 3.1,
    "densenet121-balanced-0-random": 2.0,
    "inception_v3-balanced-0": 9.0,
}
SHORT = "densenet121-raw-0"  # fewer epochs than the run that it would be compared with
NOT_RUN = ["resnet50-balanced-0", "custom_cnn-robust-0"]


def project(root: Path, done: dict[str, float] = DONE, **facts: str) -> Path:
    """A folder with params.yaml (few resamples) and the predictions of some runs."""
    params = yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8"))
    params["evaluate"]["resamples"] = 100
    lines = (params["train"]["planned"] or {}) | params["train"]["runs"]
    params["train"]["runs"] = {name: lines[name] for name in DONE}
    params["train"]["planned"] = {name: lines[name] for name in NOT_RUN}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for seed, (name, quality) in enumerate(done.items()):
        line = lines[name]
        own: dict[str, Any] = {"network": line["network"], "group": line["group"], "weights": line["weights"]}
        own |= {"parameters": PARAMETERS[line["network"]], "epochs": 3 if name == SHORT else 5}
        write_run(root / "predictions" / name, ROWS, seed=seed, quality=quality, **own, **facts)
    return root


def stage(name: str, root: Path, ok: bool = True) -> str:
    """Run a stage as its own process in `root`; return what it said on stderr."""
    module = name if "." in name else f"pipeline.stages.{name}"
    done = subprocess.run(
        [sys.executable, "-m", module],
        env={**os.environ, "PIPELINE_ROOT": str(root)},
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) == ok, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> Path:
    root = project(tmp_path_factory.mktemp("project"))
    stage("evaluate", root)
    stage("compare", root)
    return root


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
    row = rows["custom_cnn-balanced-0"]
    assert (row["weights"], row["backend"], row["epochs"], row["seed"]) == ("random", "tensorflow", "5", "0")
    assert (row["seeds"], rows["densenet121-balanced-0"]["seeds"]) == ("2", "1")
    assert rows["custom_cnn-augmented-0-steps"]["seeds"] == "1", "a control is no further seed"
    assert rows["custom_cnn-augmented-0"]["seeds"] == "2"
    flat = json.loads((compared / "metrics/runs/custom_cnn-balanced-0.json").read_text())
    assert float(row["accuracy_low"]) == flat["test_accuracy_low"]


def test_published_figures_stand_beside_the_run_that_they_belong_to(compared):
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


def test_study_json_holds_six_figures_a_run_with_their_intervals(compared):
    study = json.loads((compared / "metrics/study.json").read_text())
    assert set(study) == set(DONE)
    for figures in study.values():
        assert len(figures) == 18
        assert all(isinstance(value, float) for value in figures.values())


def test_contrasts_are_paired_differences_of_the_runs_that_are_there(compared):
    rows = read_table(compared / "metrics/contrasts.csv")
    found = {(row["contrast"], row["figure"]): row for row in rows}
    balanced = found["balanced - augmented", "test_auc"]
    assert balanced["over"] == "custom_cnn, densenet121"
    unequal = found["augmented - raw", "test_auc"]
    assert unequal["over"] == "custom_cnn (left out, unequal epochs: densenet121)"
    assert unequal["epochs"] == "5 - 5"

    options = settings.load(compared / "params.yaml")
    runs = predictions.read_all(compared / "predictions")
    samples = measure.draw(runs["custom_cnn-raw-0"], options.evaluate)
    aucs = {name: measure.headline(run, samples, options.evaluate)["test_auc"] for name, run in runs.items()}
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

    transfer = next(row for (name, _), row in found.items() if name.startswith("transfer"))
    assert transfer["over"] == "densenet121-balanced-0; densenet121-balanced-0-random"
    assert any(name.startswith("balancing at equal steps") for name, _ in found)
    rest = [row for row in rows if row["p_holm"] and row["figure"] == "test_auc"]
    assert len(rest) == len(DONE) - 1
    assert all(float(row["p_holm"]) >= float(row["p"]) for row in rest)


def test_the_candidate_and_what_its_release_costs(compared):
    named = json.loads((compared / "metrics/candidate.json").read_text())
    assert named["run"] == named["best"] == "inception_v3-balanced-0"
    released = named["released"]
    assert released["run"] != "inception_v3-balanced-0"
    cost, low, high = released["cost_stress_auc"]
    assert cost == pytest.approx(named["value"] - released["value"], abs=2e-5)
    assert low <= cost <= high
    assert {run["run"] for run in named["considered"]} == set(DONE)
    assert {run["run"]: run["not_released_because"] for run in named["considered"]} == {
        name: "inception_v3 from imagenet weights is excluded" if name.startswith("inception") else None
        for name in DONE
    }


def test_permuting_the_test_predictions_changes_nothing_chosen(compared, tmp_path):
    root = tmp_path / "permuted"
    shutil.copytree(compared, root)
    rng = np.random.default_rng(0)
    for folder in (root / "predictions").iterdir():
        with (folder / "pictures.csv").open(newline="") as stream:
            header, *lines = list(csv.reader(stream))
        test = [place for place, line in enumerate(lines) if line[1] == "test"]
        answers = [lines[place][5:] for place in test]
        for place, source in zip(test, rng.permutation(len(test)), strict=True):
            lines[place][5:] = answers[source]
        with (folder / "pictures.csv").open("w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([header, *lines])
    stage("evaluate", root)
    stage("compare", root)
    assert (root / "metrics/candidate.json").read_bytes() == (compared / "metrics/candidate.json").read_bytes()
    for name in DONE:
        before, after = (json.loads((one / f"metrics/runs/{name}.json").read_text()) for one in (compared, root))
        chosen = [key for key in before if key.startswith(("threshold", "recalibration", "validation", "stress"))]
        assert {key: before[key] for key in chosen} == {key: after[key] for key in chosen}
        assert before["test_auc"] != after["test_auc"]


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


def test_curves_of_the_sample_start_and_end_in_the_corners(compared):
    for name in DONE:
        for split in ("validation", "test"):
            rows = read_table(compared / f"plots/roc/{split}/{name}.csv")
            points = [(float(row["fpr"]), float(row["tpr"])) for row in rows]
            assert (points[0], points[-1]) == ((0, 0), (1, 1))
            assert points == sorted(points)
            x, y = np.array(points).T
            flat = json.loads((compared / f"metrics/runs/{name}.json").read_text())
            assert np.trapezoid(y, x) == pytest.approx(flat[f"{split}_auc"], abs=1e-3)
        for folder in (compared / "plots/reliability").iterdir():
            bins = read_table(folder / f"{name}.csv") if (folder / f"{name}.csv").exists() else []
            # One of the runs tells its validation pictures apart without error, and has no recalibration.
            assert bins or (folder.name.endswith("-recalibrated") and name == "inception_v3-balanced-0")
            split = folder.name.removesuffix("-recalibrated")
            expected = sum(row[1] == split for row in ROWS) if bins else 0
            assert sum(int(row["pictures"]) for row in bins) == expected


def test_phantoms_are_named_wherever_their_figures_are_shown(tmp_path):
    few = {name: DONE[name] for name in ("custom_cnn-raw-0", "densenet121-augmented-0")}
    root = project(tmp_path, few, dataset="phantom", edition="phantom")
    stage("evaluate", root)
    stage("compare", root)
    for path in (root / "plots/study").iterdir():
        assert "GENERATED RADIOGRAPHS" in path.read_text(), path.name
    for table in ("table2", "table3"):
        for row in read_table(root / f"metrics/{table}.csv"):
            assert row["status"] == "not run" or row["dataset"] == "phantom"
            assert row["published_accuracy"] == ""
    rendered = documents.blocks(root / "metrics", settings.load(root / "params.yaml"))
    of_pictures = [text for name, text in rendered.items() if name != "speed"]
    assert all(text.startswith("**Generated radiographs (phantom)") for text in of_pictures)


def test_documents_are_filled_between_their_markers_and_nowhere_else(compared, tmp_path):
    root = tmp_path / "documents"
    shutil.copytree(compared, root)
    text = "# Title\n\n<!-- table2 -->\nwas here before\n<!-- /table2 -->\n\nprose\n<!-- candidate -->\n<!-- /candidate -->\n"
    text += "<!-- splits -->\n<!-- /splits -->\n<!-- caveats -->\n<!-- /caveats -->\n"
    text += "<!-- accuracy -->\n<!-- /accuracy -->\n<!-- areas -->\n<!-- /areas -->\n"
    (root / "README.md").write_text(text)
    stage("pipeline.evaluation.documents", root)
    every = [row for table in ("table2", "table3") for row in read_table(root / f"metrics/{table}.csv") if row["fp"]]
    filled = (root / "README.md").read_text()
    assert filled.startswith("# Title\n\n<!-- table2 -->\nchest-xray-pneumonia, 224px edition: ")
    assert "was here before" not in filled
    assert "custom_cnn-raw-0 (5 epochs, random)" in filled and f"{SHORT} (3 epochs, imagenet)" in filled
    false = sum(int(row["fp"]) for row in every)
    share = false / (false + sum(int(row["fn"]) for row in every))
    assert f"Of the errors of all {len(DONE)} runs on the official test set at 0.5, {share:.0%} are normal" in filled
    assert "\nprose\n" in filled
    assert "| custom_cnn-raw-0 | random, tensorflow, float32 | 5 | 0 (one seed) |" in filled
    assert "| custom_cnn-robust-0 | random | - | 0 | not run |" in filled
    accuracy, areas = (
        {
            line.split(" (")[0]: [cell.strip() for cell in line.split("|")[1:-1]]
            for line in part.splitlines()
            if "|" in line
        }
        for part in (filled.split("<!-- accuracy -->")[1].split("<!-- areas -->"))
    )
    assert accuracy["| network"] == areas["| network"] == ["network (start)", "augmented", "balanced", "raw", "robust"]
    rows = {row["run"]: row for row in every}
    own = f"{float(rows['custom_cnn-raw-0']['accuracy']):.3f}"[1:]
    assert accuracy["| custom_cnn"][3].startswith(f"{own} (")
    assert accuracy["| custom_cnn"][3].endswith("*.771*"), "what was published"
    assert accuracy["| custom_cnn"][4] == accuracy["| resnet50"][2] == areas["| resnet50"][2] == "not run"
    assert accuracy["| densenet121"][3].endswith("*.853*, 3 epochs")
    run = json.loads((root / "metrics/runs/custom_cnn-raw-0.json").read_text())
    assert areas["| custom_cnn"][3] == " / ".join(
        f"{run[f'{part}_auc']:.3f}".removeprefix("0") for part in ("validation", "stress", "test")
    )
    stage("pipeline.evaluation.documents", root)
    assert (root / "README.md").read_text() == filled
    with pytest.raises(ProjectError, match="no block 'table9'"):
        documents.insert("<!-- table9 -->\n<!-- /table9 -->", {"table2": ""})


def test_a_broken_prediction_file_stops_evaluate_and_leaves_the_last_figures(compared, tmp_path):
    root = tmp_path / "broken"
    shutil.copytree(compared, root)
    before = written(root)
    target = root / "predictions/custom_cnn-raw-0/pictures.csv"
    target.write_text(target.read_text().replace(",validation,", ",train,", 1))
    said = stage("evaluate", root, ok=False)
    assert said.strip().splitlines()[-1].startswith("evaluate: predictions/custom_cnn-raw-0/pictures.csv, line 2")
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
    heavy = {"tensorflow", "keras", "jax", "torch", "pandas", "scipy", "sklearn", "matplotlib", "mlflow", "onnx", "PIL"}
    assert not heavy & set(done.stdout.split())


# The rule itself.

REPLICATES = st.lists(st.floats(0.5, 1), min_size=5, max_size=5).map(np.array)
NOTHING_BARRED = Release(max_megabytes=1000, exclude=[])


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(REPLICATES, st.integers(1, 5)), min_size=1))
def test_the_candidate_is_the_smallest_within_one_standard_error_of_the_best(drawn):
    values = {run: replicates for run, (replicates, _) in drawn.items()}
    sizes = {run: size for run, (_, size) in drawn.items()}
    chosen, best, error = candidate.choose(values, sizes)
    assert values[best][0] == max(value[0] for value in values.values())
    assert error == pytest.approx(np.std(values[best][1:], ddof=1))
    near = [run for run in values if values[run][0] >= values[best][0] - error]
    assert chosen in near
    assert sizes[chosen] == min(sizes[run] for run in near)
    backwards = dict(reversed(values.items()))
    assert candidate.choose(backwards, sizes) == (chosen, best, error)


def named(release: Release, weights: str = "float16"):
    values = {"big": np.array([0.99, 0.98, 1.0]), "small": np.array([0.95, 0.94, 0.96])}
    facts = {
        "big": {"network": "vgg16", "weights": "imagenet", "parameters": 15_000_000, "dataset": "phantom"},
        "small": {"network": "custom_cnn", "weights": "random", "parameters": 500_000, "dataset": "phantom"},
    }
    return candidate.name(values, values, facts, release, weights)


def test_what_may_not_be_released_is_named_with_the_reason():
    free = named(NOTHING_BARRED)
    assert (free["run"], free["released"]["run"]) == ("big", "big")
    assert free["released"]["cost_stress_auc"] == [0.0, 0.0, 0.0]
    barred = named(Release(1000, [Start("vgg16", "imagenet")]))
    assert (barred["run"], barred["released"]["run"]) == ("big", "small")
    assert barred["considered"][0]["not_released_because"] == "vgg16 from imagenet weights is excluded"
    assert named(Release(1000, [Start("vgg16", "random")]))["released"]["run"] == "big"
    assert named(Release(45, []))["released"]["run"] == "big"  # 30 MB as float16
    heavy = named(Release(45, []), "float32")
    assert heavy["released"]["run"] == "small"
    assert heavy["considered"][0]["not_released_because"] == "60.0 MB as float32, more than 45"
    assert named(Release(0, []))["released"] is None


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.5, ".500"), (0.9994, ".999"), (0.9999994, "1 - 6.0e-07"), (0.0000212, "2.1e-05"), ("undefined", "undefined")],
)
def test_a_threshold_next_to_0_or_1_is_told_apart_from_it(value, said):
    assert formatting.threshold(value) == said


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (None, "the gate has not been asked about it"),
        ({"version": "vgg16-raw-0-1a2b", "passed": True, "rules": []}, "the gate has not been asked about it"),
        (
            {"version": "custom_cnn-raw-0-1a2b", "passed": True, "rules": []},
            "passed it, and it has not been promoted yet",
        ),
        (
            {
                "version": "custom_cnn-raw-0-1a2b",
                "passed": False,
                "rules": [
                    {"name": "AUC", "bound": -0.0064, "limit": -0.01, "passed": True},
                    {"name": "log loss", "bound": 0.0539, "limit": 0.04, "passed": False},
                ],
            },
            "rejected it: log loss, 95 % bound .054, limit .040",
        ),
    ],
)
def test_the_documents_say_what_the_gate_said_of_the_candidate(tmp_path, gate, said):
    if gate:
        (tmp_path / "gate.json").write_text(json.dumps(gate))
    assert documents._verdict(tmp_path / "gate.json", "custom_cnn-raw-0").endswith(said)
