"""A seventh network and a fourth recipe: one new file and one entry each, and every stage takes them as it takes the others."""

import json
import shutil

import numpy as np
import pytest
import yaml

from pipeline.data.tables import read_table
from tests.server_fixture import serve
from tests.study_fixture import RAW, RUNS, call, change, would_run

# No layer has a name that one of the six has; a pooling and a dense layer stand inside the trunk, as in squeeze-and-excitation.
TINY = '''"""Two convolutions and a gate."""

from typing import Any

from pipeline.learning.networks import Network


def trunk(images: Any) -> Any:
    """float32 [n, side, side, 3] to [n, 16]."""
    from keras import layers

    x = layers.Conv2D(8, 5, strides=2, activation="relu", name="glance")(images)
    x = layers.MaxPooling2D(4, name="step_back")(x)
    x = layers.SeparableConv2D(16, 3, activation="relu", name="look_again")(x)
    gate = layers.Dense(16, activation="sigmoid", name="weigh")(layers.GlobalAveragePooling2D(name="sum_up")(x))
    x = layers.Multiply(name="gate")([x, layers.Reshape((1, 1, 16), name="as_map")(gate)])
    return layers.GlobalAveragePooling2D(name="gather")(x)


NETWORK = Network(smallest_side=27, trunk=trunk)
'''
TILT = '''"""Turns alone, and wide ones."""

from pipeline.learning.augmentation import Ranges

KINDS = frozenset({"geometry"})
RANGES = Ranges(rotation=20 / 360, zoom=0.01, shift=0.01)
'''
pytestmark = pytest.mark.slow  # a study of five runs to its end, minutes beside the toy study

NETWORK = "tiny-raw-0"
RECIPE = "custom_cnn-raw-0-tilt"
ADDED = {
    NETWORK: RAW | {"network": "tiny", "epochs": 6, "learning_rate": 0.01},  # one that learned nothing is no candidate
    RECIPE: RAW | {"network": "custom_cnn", "augmentation": "tilt", "epochs": 1},
}


@pytest.fixture(scope="module")
def grown(finished, tmp_path_factory):
    """The finished study with both files and both entries, after `dvc repro`."""
    folder = tmp_path_factory.mktemp("grown") / "study"
    shutil.copytree(finished, folder, symlinks=True)
    learning = folder / "pipeline" / "learning"
    (learning / "networks" / "tiny.py").write_text(TINY)
    (learning / "augmentation" / "tilt.py").write_text(TILT)
    change(folder, "train", "runs", RUNS | ADDED)
    # Not needed to add a network: it makes this one the candidate, so that it is packaged, explained and served.
    others = [{"network": run["network"], "weights": "random"} for run in RUNS.values()]
    change(folder, "compare", "release", "exclude", others)
    assert trainings(would_run(folder)) == set(ADDED)
    done = call(folder, "repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def trainings(stages):
    return {name.removeprefix("train@") for name in stages if name.startswith("train@")}


def test_no_other_run_is_trained_again(finished, grown):
    before, after = (yaml.safe_load((folder / "dvc.lock").read_text())["stages"] for folder in (finished, grown))
    assert trainings(after) == {*RUNS, *ADDED}
    assert all(after[f"train@{name}"] == before[f"train@{name}"] for name in RUNS)
    assert "Data and pipelines are up to date." in call(grown, "repro").stdout


def test_both_are_measured_and_compared_with_the_others(grown):
    second, third = (read_table(grown / "metrics" / f"table{number}.csv") for number in (2, 3))
    assert [row["run"] for row in second if row["status"] != "not run"][-2:] == [RECIPE, "baseline"]
    assert list(dict.fromkeys(row["network"] for row in third))[:2] == ["vgg16", "tiny"], "in the order of params.yaml"
    (row,) = [row for row in third if row["run"] == NETWORK]
    assert row["status"] in ("run", "did not train"), "a few steps teach it enough on one machine, and not on another"
    assert 0 <= float(row["auc"]) <= 1
    assert set(ADDED) <= set(json.loads((grown / "metrics" / "study.json").read_text())["validation_auc"])
    for name in ("confusion-transfer", "roc-transfer", "training-loss", "forest"):
        assert "tiny" in (grown / "plots" / "study" / f"{name}.svg").read_text(), name
    assert "tiny" in (grown / "reports" / "index.html").read_text()


def test_the_network_is_explained_layer_by_layer(grown):
    summary = json.loads((grown / "metrics" / "explain" / "summary.json").read_text())
    assert (summary["run"], summary["feature_maps"]["tiny"], summary["grid"]) == (NETWORK, NETWORK, [9, 9])
    layers = [row["layer"] for row in read_table(grown / "metrics" / "explain" / "randomisation.csv")]
    assert layers == ["logit", "hidden", "weigh", "look_again", "glance"]
    drawing = (grown / "plots" / "explain" / "architecture-tiny.svg").read_text()
    assert all(name in drawing for name in ("glance", "look_again", "gather", "SeparableConv2D"))


def test_the_network_is_packaged_and_served(grown, tmp_path):
    candidate = grown / "models" / "candidate"
    contract = json.loads((candidate / "contract.json").read_text())
    assert (contract["run"], contract["network"]) == (NETWORK, "tiny")
    shutil.copytree(candidate, tmp_path / "models" / "champions" / contract["version"])
    (tmp_path / "models" / "CHAMPION").write_text(f"{contract['version']}\n")
    rows = read_table(grown / "predictions" / NETWORK / "images.csv")
    row = next(row for row in rows if row["split"] == "test")
    with serve(tmp_path) as server:
        answer = server.post((grown / "data" / "raw" / row["path"]).read_bytes())
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_version"] == contract["version"]
    calibration = contract["recalibration"]
    logit = calibration["intercept"] + calibration["slope"] * float(row["logit"])
    assert answer.json()["score"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=0.01)
