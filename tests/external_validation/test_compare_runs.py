"""Trained runs on another hospital's radiographs: the networks' own answers, and a table that shows no others."""

import csv
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline import settings
from pipeline.data.tables import read_table
from pipeline.reporting import site_table
from tests.candidate_fixture import HOME, RUN
from tests.explain_fixture import explained

PYTHON = HOME / ".venv" / "bin" / "python"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one trained run; the test images lie in a folder as another hospital's radiographs, one of them broken."""
    root = tmp_path_factory.mktemp("site-runs") / "root"
    shutil.copytree(explained(), root)
    options = yaml.safe_load((root / "params.yaml").read_text())
    pixels = np.load(root / "data" / "arrays" / "test.npy")
    options["preprocess"]["image_size"] = pixels.shape[1]
    (root / "params.yaml").write_text(yaml.safe_dump(options))
    (root / "radiographs").mkdir()
    rows = [("file", "label", "patient", "view")]
    for number, row in enumerate(read_table(root / "data" / "arrays" / "test.csv")):
        Image.fromarray(pixels[number]).save(root / "radiographs" / f"{number}.png")
        rows.append((f"{number}.png", row["label"], row["patient"], "PA" if number % 2 else "AP"))
    (root / "radiographs" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    rows.append(("broken.png", "NORMAL", "somebody", "PA"))
    with (root / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return root


def ask(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PIPELINE_ROOT": str(root), "PYTHONPATH": str(HOME)}
    command = [PYTHON, "-m", "pipeline.external_validation.compare_runs"]
    command += ["--name", "a-hospital", "radiographs", "labels.csv", *arguments]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)


def test_the_radiographs_get_the_logits_of_the_predictions(root: Path) -> None:
    done = ask(root, RUN)
    assert done.returncode == 0, done.stderr
    assert "broken.png is left out: undecodable" in done.stderr
    told = json.loads((root / "metrics" / "site_runs" / "a-hospital.json").read_text())
    expected = [row for row in read_table(root / "predictions" / RUN / "images.csv") if row["split"] == "test"]
    assert [radiograph["patient"] for radiograph in told["films"]] == [row["patient"] for row in expected]
    assert told["runs"][RUN]["logits"] == pytest.approx([float(row["logit"]) for row in expected], abs=1e-3)

    run = json.loads((root / "metrics" / "runs" / f"{RUN}.json").read_text())
    options = settings.load(root / "params.yaml").evaluate
    shown = site_table.table(root / "metrics", root / "predictions", [run], options, epochs=1)
    same = f"{run['test_auc']:.3f}".lstrip("0")
    (row,) = [line for line in shown.splitlines() if line.startswith(f"| {RUN}")]
    assert row.split(" | ")[3].startswith(f"{same} ("), "the same images, so the AUC of the official test"
    assert "No finished robust run" in shown
    shares = re.search(
        r"[(](\d+)% of AP, (\d+)% of PA show pneumonia[)]: AUC [.]\d{3} [(][.]\d{3} to [.]\d{3}[)]", shown
    )
    ill = {
        view: [radiograph["pneumonia"] for radiograph in told["films"] if radiograph["view"] == view]
        for view in ("AP", "PA")
    }
    assert shares and [f"{sum(share) / len(share):.0%}" for share in ill.values()] == [
        f"{share}%" for share in shares.groups()
    ]

    # The network was trained again since: what the old one answered is not shown.
    images = root / "predictions" / RUN / "images.csv"
    content = images.read_bytes()
    images.write_bytes(content + b"\n")
    assert RUN not in site_table.table(root / "metrics", root / "predictions", [run], options, epochs=1)
    images.write_bytes(content)


def test_robust_stands_beside_balanced_of_as_many_epochs(tmp_path: Path) -> None:
    labels = [False, True] * 8
    radiographs = [
        {"file": f"{n}.png", "pneumonia": ill, "patient": str(n), "view": "PA"} for n, ill in enumerate(labels)
    ]
    perfect = [4.0 if ill else -4.0 for ill in labels]
    answers = {
        "custom_cnn-balanced-0": [0.0] * 16,
        "custom_cnn-robust-0": perfect,
        "vgg16-balanced-0": perfect,
        "vgg16-robust-0": perfect,
    }
    runs, told = [], {}
    for name, logits in answers.items():
        folder = tmp_path / "predictions" / name
        folder.mkdir(parents=True)
        (folder / "images.csv").write_text(name)
        told[name] = {"predictions": site_table.sha256_of(folder / "images.csv"), "logits": logits}
        epochs = 3 if name == "vgg16-robust-0" else 15
        row = {"run": name, "network": name.split("-")[0], "seed": 0, "epochs": epochs, "weights": "random"}
        row |= {"stress_auc": 0.9, "test_auc": 0.9, "did_not_train": False}
        runs.append(row | {"threshold_sensitive_logit": 0.5})
    (tmp_path / "metrics" / "site_runs").mkdir(parents=True)
    text = json.dumps({"name": "far-away", "films": radiographs, "runs": told})
    (tmp_path / "metrics" / "site_runs" / "far-away.json").write_text(text)
    shown = site_table.table(tmp_path / "metrics", tmp_path / "predictions", runs, settings.load().evaluate, epochs=3)
    assert "`custom_cnn-robust-0` less `custom_cnn-balanced-0`: AUC +.000 on stressed validation, +.500 (+" in shown
    assert "`vgg16-robust-0` less" not in shown, "3 epochs against 15"
    (row,) = [line for line in shown.splitlines() if line.startswith("| custom_cnn-balanced-0")]
    assert "The view tells" not in shown, "there is one view"
    assert row.split(" | ")[-2:] == [".000 (.000 to .000)", "1.000 (1.000 to 1.000) |"]


def test_answers_to_other_radiographs_are_not_written_over(root: Path) -> None:
    target = root / "metrics" / "site_runs" / "a-hospital.json"
    before = target.read_text() if target.exists() else None
    target.parent.mkdir(parents=True, exist_ok=True)
    other = json.dumps({"name": "a-hospital", "films": [{"file": "x.png"}], "runs": {"vgg16-raw-0": {}}})
    target.write_text(other)
    done = ask(root, RUN)
    assert done.returncode == 1
    assert "a-hospital.json holds the answers to other radiographs (1, here" in done.stderr
    assert target.read_text() == other
    target.unlink() if before is None else target.write_text(before)


def test_a_second_call_keeps_the_answers_of_other_runs(root: Path) -> None:
    assert ask(root, RUN).returncode == 0
    target = root / "metrics" / "site_runs" / "a-hospital.json"
    told = json.loads(target.read_text())
    told["runs"]["another"] = told["runs"].pop(RUN)
    target.write_text(json.dumps(told))
    assert ask(root, RUN).returncode == 0
    kept = json.loads(target.read_text())["runs"]
    assert set(kept) == {RUN, "another"}
    assert kept["another"] == kept[RUN]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [((), "arguments are required: runs"), (("xception-raw-7",), "train.runs has no xception-raw-7")],
)
def test_a_wrong_call_names_what_is_wrong(root: Path, arguments: tuple[str, ...], word: str) -> None:
    done = ask(root, *arguments)
    assert done.returncode != 0
    assert word in done.stderr.splitlines()[-1]
