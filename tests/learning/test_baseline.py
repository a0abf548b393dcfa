"""The non-image baseline: what it reads, what it drops, and its predictions in the contract of every other run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline import paths
from pipeline.data.tables import read_table, write_table
from pipeline.evaluation import predictions, run_metrics
from pipeline.learning import baseline
from pipeline.robustness.families import TRAINED
from pipeline.settings import Evaluate

SIDE = 8


def image_rows(part: str, count: int, rng: np.random.Generator) -> list[dict[str, object]]:
    """Manifest rows whose file size, and nothing else of the file, goes with the label."""
    rows = []
    for number in range(count):
        sick = number % 2 == 1
        label, subtype = ("PNEUMONIA", ("bacterial", "viral")[number // 2 % 2]) if sick else ("NORMAL", "normal")
        size = int(rng.normal(20_000 - 4_000 * sick, 2_000))
        name = f"{part}/{label}/{number:04}.jpeg"
        row = {"path": name, "split": part, "label": label, "subtype": subtype, "patient": f"{part}{number}"}
        rows.append(row | {"width": 224, "height": 224, "mode": "L", "bytes": size, "sha256": "0"})
    return rows


def run_stage(root: Path) -> str:
    """Run the stage as its own process in `root`; return what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.stages.baseline"],
        env={**os.environ, "PIPELINE_ROOT": str(root)},
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Arrays of noise: a lung could tell nothing, the file can."""
    root = tmp_path_factory.mktemp("baseline")
    rng = np.random.default_rng(0)
    for part, count in (("development", 300), ("test", 120)):
        rows = image_rows("train" if part == "development" else "test", count, rng)
        write_table(root / f"data/arrays/{part}.csv", list(rows[0]), rows)
        np.save(root / f"data/arrays/{part}.npy", rng.integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8))
    chosen = [{"row": row, "label": "PNEUMONIA" if row % 2 else "NORMAL"} for row in range(0, 300, 5)]
    write_table(root / "data/groups/validation.csv", ["row", "label"], chosen)
    dataset = {"dataset": "phantom", "edition": "phantom", "digest": "0" * 64, "pictures": 420, "bytes": 1}
    (root / "data/dataset.json").write_text(json.dumps(dataset))
    return root, run_stage(root)


def test_it_is_one_more_run_that_evaluate_reads(project):
    root, _ = project
    run = predictions.read(root / "predictions/baseline")
    assert (len(run.validation.paths), len(run.test.paths)) == (60, 120)
    assert set(run.stress) == set(TRAINED.changes)
    assert run_metrics.training(run)["epochs_to_95"] is None
    options = Evaluate(threshold=0.5, resamples=50, seed=0, sensitive=0.95, specific=0.95, prevalence=0.1)
    flat = run_metrics.summary(run, *run_metrics.measure(run, run_metrics.draw(run, options), options))
    assert flat["run"] == "baseline"
    assert flat["test_auc"] > 0.85  # the bytes alone tell the class here: two standard deviations apart


def test_constant_columns_are_dropped_and_named(project):
    root, said = project
    facts = json.loads((root / "predictions/baseline/run.json").read_text())
    assert facts["dropped"] == ["width", "height"]
    assert facts["columns"] == [name for name in baseline.COLUMNS if name not in ("width", "height")]
    assert "width is the same in every training image and is dropped" in said


def test_a_change_of_pixels_leaves_the_file_as_it_was(project):
    root, _ = project
    run = predictions.read(root / "predictions/baseline")
    assert not np.allclose(run.stress["gamma_0.6"], run.validation.logits)
    # The bytes carry the label, and no change touches them.
    assert roc_auc_score(run.validation.labels, run.stress["blur_0.8"]) > 0.8


def test_features_are_what_their_names_say():
    pixels = np.array([[[0, 10], [20, 30]], [[7, 7], [7, 7]]], dtype=np.uint8)
    rows = [{"width": "5", "height": "6", "bytes": "70"}, {"width": "8", "height": "9", "bytes": "10"}]
    values = dict(zip(baseline.COLUMNS, baseline.features(rows, pixels).T, strict=True))
    assert list(values["width"]) == [5, 8]
    assert list(values["mean"]) == [15, 7]
    assert values["standard_deviation"] == pytest.approx([np.sqrt(125), 0])
    assert values["percentile_50"] == pytest.approx([15, 7])


def test_nothing_is_learned_from_validation_or_test(project, tmp_path):
    root, _ = project
    shutil.copytree(root, tmp_path / "turned")
    for part, rows in (("development", range(0, 300, 5)), ("test", range(120))):
        table = read_table(root / f"data/arrays/{part}.csv")
        for row in rows:  # labels turned round where nothing may be learned
            sick = table[row]["label"] == "NORMAL"
            table[row] |= (
                {"label": "PNEUMONIA", "subtype": "viral"} if sick else {"label": "NORMAL", "subtype": "normal"}
            )
        write_table(tmp_path / f"turned/data/arrays/{part}.csv", list(table[0]), table)
    run_stage(tmp_path / "turned")
    before, after = (predictions.read(folder / "predictions/baseline") for folder in (root, tmp_path / "turned"))
    np.testing.assert_array_equal(before.test.logits, after.test.logits)
    np.testing.assert_array_equal(before.test.labels, ~after.test.labels)
