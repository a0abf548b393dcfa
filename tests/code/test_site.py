"""A hospital's own films: figures, refusals, views, a local threshold, and what is said of a wrong table."""

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

from tests.champion_fixture import logit_of, plain_guard, write_champion
from tests.film_fixture import encoded, film, scene

CHECKOUT = Path(__file__).resolve().parents[2]
PER_CLASS = 40


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PIPELINE_ROOT": str(root), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "pipeline.serving.site", *arguments]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flat films (the tiny guard takes contrast for a stranger), brighter with pneumonia; and three that are refused."""
    root = tmp_path_factory.mktemp("site")
    shutil.copy(CHECKOUT / "params.yaml", root)
    write_champion(root, guard=plain_guard(0.0))
    folder = root / "films"
    folder.mkdir()
    random = np.random.default_rng(0)
    rows = []
    for label, middle in (("NORMAL", 110), ("PNEUMONIA", 145)):
        for number in range(PER_CLASS):
            tone = int(np.clip(random.normal(middle, 20), 0, 255))
            name = f"{label}-{number}.png"
            (folder / name).write_bytes(encoded(np.full((70, 70), tone, np.uint8), "PNG"))
            rows.append((name, label, f"{label}-{number // 2}", "AP" if number % 3 else "PA"))
    for name, data in (
        ("stranger.png", encoded(scene(), "PNG")),
        ("broken.png", b"\x89PNG\r\n\x1a\n"),
        ("film.dcm", film()),
    ):
        (folder / name).write_bytes(data)
        rows.append((name, "NORMAL", name, "PA"))
    with (root / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "label", "patient", "view"), *rows])
    return root


@pytest.fixture(scope="module")
def report(root: Path) -> dict[str, Any]:
    told = run(root, "films", "labels.csv", "a-hospital")
    assert told.returncode == 0, told.stderr
    assert "not a medical device" in told.stdout
    return json.loads((root / "metrics" / "site" / "a-hospital.json").read_text())


def test_counts_and_refusals(report: dict[str, Any]) -> None:
    assert report["films"] == 2 * PER_CLASS + 3
    assert report["refusals"] == {"no_chest_radiograph": 2, "undecodable": 1}  # the scene, and the same scene as DICOM
    share, low, high = report["share_refused_by_guard"]
    assert share == pytest.approx(2 / 83, abs=1e-5)
    assert low < share < high


def test_auc_is_that_of_the_networks_answers(root: Path, report: dict[str, Any]) -> None:
    from PIL import Image

    tones = {label: [] for label in ("NORMAL", "PNEUMONIA")}
    for path in (root / "films").glob("*-*.png"):
        tones[path.name.split("-")[0]].append(logit_of(np.asarray(Image.open(path))))
    normal, ill = np.array(tones["NORMAL"]), np.array(tones["PNEUMONIA"])
    expected = np.mean((ill[:, None] > normal) + 0.5 * (ill[:, None] == normal))
    value, low, high = report["accepted"]["auc"]
    assert value == pytest.approx(expected, abs=1e-6)
    assert low <= value <= high
    sensitivity = np.mean(1 / (1 + np.exp(-ill)) >= 0.4)
    assert report["accepted"]["sensitivity_at_sensitive"][0] == pytest.approx(sensitivity, abs=1e-6)


def test_views_are_reported_apart(report: dict[str, Any]) -> None:
    assert set(report["views"]) == {"AP", "PA"}
    assert sum(view["films"] for view in report["views"].values()) == report["films"]
    assert report["views"]["PA"]["refused"] == 3


def test_local_threshold_is_measured_on_the_other_half(report: dict[str, Any]) -> None:
    local = report["local_threshold"]
    assert 0 < local["threshold"] < 1
    assert local["fitted_on"] + local["normal"] + local["pneumonia"] == 2 * PER_CLASS
    assert len(local["sensitivity_at_local"]) == 3


def test_reliability_covers_every_accepted_film(report: dict[str, Any]) -> None:
    assert sum(point["pictures"] for point in report["reliability"]) == 2 * PER_CLASS


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ("file,label\na.png,NORMAL\n", "no column patient"),
        ("file,label,patient\nnone.png,NORMAL,1\n", "line 2: none.png is not in SOURCE"),
        ("file,label,patient\nbroken.png,ILL,1\n", "line 2: label 'ILL'"),
        ("file,label,patient\n", "no line"),
    ],
)
def test_a_wrong_table_is_named_in_one_line(root: Path, table: str, word: str) -> None:
    (root / "wrong.csv").write_text(table)
    told = run(root, "films", "wrong.csv")
    assert told.returncode == 1
    assert word in told.stderr
    assert told.stderr.count("\n") == 1
