"""`make site-profile`: what it writes of generated images, what it refuses, and that nothing of a refusal is kept."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline import paths
from pipeline.evaluation import site_fit
from pipeline.serving import profile
from tests.champion_fixture import plain_guard, write_champion
from tests.image_fixture import encoded, scene

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENTS, BRIGHTER = 54, 60  # of each class; what this site's images are brighter than the champion's own
HEAD = ("file", "label", "patient", "view")
ROWS = [
    (f"{label}-{number}.png", label, f"{label}-{number // 2}", "AP" if number % 4 < 2 else "PA")
    for label in ("NORMAL", "PNEUMONIA")
    for number in range(2 * PATIENTS)
]


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PIPELINE_ROOT": str(root), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "pipeline.external_validation.site_profile", *arguments]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)


def table(root: Path, name: str, rows: list[tuple[str, ...]]) -> str:
    with (root / name).open("w", newline="") as stream:
        csv.writer(stream).writerows([HEAD, *rows])
    return name


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flat radiographs, all too bright for the champion (it calls bright ones pneumonia), and two that are refused."""
    root = tmp_path_factory.mktemp("profile")
    shutil.copy(CHECKOUT / "params.yaml", root)
    write_champion(root, guard=plain_guard(0.0))
    (root / "radiographs").mkdir()
    random = np.random.default_rng(0)
    for name, label, _, _ in ROWS:
        middle = BRIGHTER + (115 if label == "NORMAL" else 145)
        tone = int(np.clip(random.normal(middle, 18), 0, 255))
        (root / "radiographs" / name).write_bytes(encoded(np.full((70, 70), tone, np.uint8), "PNG"))
    (root / "radiographs" / "scene.png").write_bytes(encoded(scene(), "PNG"))
    (root / "radiographs" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    table(root, "labels.csv", [*ROWS, ("scene.png", "NORMAL", "x", "PA"), ("broken.png", "NORMAL", "y", "PA")])
    return root


@pytest.fixture(scope="module")
def made(root: Path) -> subprocess.CompletedProcess[str]:
    told = run(root, "radiographs", "labels.csv", "--name", "a-site", "--sensitivity", "0.9", "--specificity", "0.85")
    assert told.returncode == 0, told.stderr
    return told


@pytest.fixture
def written(root: Path, made: object, monkeypatch: pytest.MonkeyPatch) -> profile.Profile:
    monkeypatch.setattr(paths, "PROFILES", root / "models" / "profiles")
    monkeypatch.setattr(paths, "ROOT", root)
    return profile.read("a-site")


def test_it_names_its_champion_and_its_images(root: Path, written: profile.Profile) -> None:
    assert written.champion == (root / "models" / "CHAMPION").read_text().strip()
    assert written.images == 4 * PATIENTS
    assert written.patients == {"normal": PATIENTS, "pneumonia": PATIENTS}
    assert written.report["input_check"]["refusals"] == {"no_chest_radiograph": 1, "undecodable": 1}
    share, low, high = written.report["input_check"]["share_rejected"]["all"]
    assert low <= share <= high and share == pytest.approx(1 / (4 * PATIENTS + 2), abs=1e-5)
    assert sum(written.scores.counts) == written.images
    value, low, high = written.report["prevalence"]
    assert written.prevalence == pytest.approx(0.5) and low < value < high


def test_bright_radiographs_are_brought_back(written: profile.Profile) -> None:
    """All the site's radiographs are bright, so that the score is too high: the intercept undoes it, out of fold too."""
    assert written.report["with_slope"] and written.recalibration.intercept < -1
    report = written.report["all"]
    assert report["calibration_intercept"]["before"][0] < -1
    low, high = report["calibration_intercept"]["after"][1:]
    assert low < 0 < high
    assert report["log_loss"]["change"][2] < 0, "the whole interval of the difference lies below 0"
    difference = report["log_loss"]["after"][0] - report["log_loss"]["before"][0]
    assert report["log_loss"]["change"][0] == pytest.approx(difference, abs=1e-5)
    lower, upper = (written.report["all"][name] for name in ("sensitivity_at_lower", "specificity_at_upper"))
    assert lower["after"][0] == pytest.approx(0.9, abs=0.06) and upper["after"][0] == pytest.approx(0.85, abs=0.06)
    assert upper["before"][0] < 0.3


def test_each_view_is_told_apart(written: profile.Profile) -> None:
    views = written.report["views"]
    assert set(views) == {"AP", "PA"}
    for kind in ("normal", "pneumonia"):
        assert sum(view[kind] for view in views.values()) == written.report["all"][kind]
    assert all(len(view["log_loss"]["change"]) == 3 for view in views.values())


def test_the_report_is_kept_and_names_nobody(root: Path, made: subprocess.CompletedProcess[str]) -> None:
    kept = (root / "metrics" / "site_profiles" / "a-site.json").read_text()
    assert "NORMAL-" not in kept and "scene" not in kept
    assert json.loads(kept)["report"]["patients_needed"] == {"at_least": 30, "for_a_slope": 50, "advised": 196}
    assert "at least 30, a slope from 50 on, 196 advised" in made.stdout
    assert "before" in made.stdout and "SERVE_PROFILE=a-site make serve" in made.stdout
    assert "NORMAL-" not in (root / "models" / "profiles" / "a-site.json").read_text()


def few(each: int) -> list[tuple[str, ...]]:
    return [row for row in ROWS if int(row[2].split("-")[1]) < each]


def test_below_fifty_patients_the_slope_stays_one(root: Path) -> None:
    told = run(root, "radiographs", table(root, "thirty.csv", few(30)), "--name", "thirty", "--sensitivity", "0.9")
    assert told.returncode == 0, told.stderr
    stored = json.loads((root / "models" / "profiles" / "thirty.json").read_text())
    assert stored["recalibration"]["slope"] == 1 and stored["report"]["with_slope"] is False
    assert "slope 1, too few patients" in told.stdout


REFUSED: dict[str, tuple[list[tuple[str, ...]], tuple[str, ...], str]] = {
    "few patients": (few(29), (), "at least 30 patients of each class, and 73 are advised; images of 29 of NORMAL, 29 of"),
    "many images of few": ([(*row[:2], "one" + row[1], row[3]) for row in ROWS], (), "images of 1 of NORMAL, 1 of PNEUMONIA"),
    "one class": ([row for row in ROWS if row[1] == "NORMAL"], (), "54 of NORMAL, 0 of PNEUMONIA"),
    "strict wish": (ROWS, ("--sensitivity", "0.99"), "at least 111 patients of each class"),
    "impossible wish": (ROWS, ("--specificity", "1"), "SPECIFICITY: 1 must lie from 0.5 to 0.99"),
    "no chance": ([(row[0], ("NORMAL", "PNEUMONIA")[place % 2], f"p{place}", "PA") for place, row in enumerate(ROWS)], (),
                  "does not rank these images better than chance"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_too_little_is_refused_and_says_the_number(root: Path, case: str) -> None:
    rows, arguments, says = REFUSED[case]
    told = run(root, "radiographs", table(root, "refused.csv", rows), "--name", "refused", *arguments)
    assert told.returncode == 1 and says in told.stderr.splitlines()[-1], told.stderr
    assert not (root / "models" / "profiles" / "refused.json").exists()
    assert not (root / "metrics" / "site_profiles" / "refused.json").exists()


@pytest.mark.parametrize(
    ("labels", "name", "says"),
    [("", "x", "LABELS: . is no file"), ("labels.csv", "", "NAME: ''"), ("labels.csv", "../x", "NAME: '../x'")],
)
def test_without_labels_or_name_no_profile_is_made(root: Path, labels: str, name: str, says: str) -> None:
    before = sorted((root / "models").rglob("*.json"))
    told = run(root, "radiographs", labels, "--name", name)
    assert told.returncode == 1 and says in told.stderr
    assert sorted((root / "models").rglob("*.json")) == before


def test_rejected_patients_do_not_count(root: Path) -> None:
    """Enough are labelled, too few are answered."""
    rows = few(site_fit.MIN_PATIENTS)
    ill = [row for row in rows if row[2] == "PNEUMONIA-0"]
    folder = root / "some"
    shutil.copytree(root / "radiographs", folder, dirs_exist_ok=True)
    for row in ill:
        (folder / row[0]).write_bytes((root / "radiographs" / "scene.png").read_bytes())
    told = run(root, "some", table(root, "some.csv", rows), "--name", "some")
    assert told.returncode == 1 and "30 of NORMAL, 29 of PNEUMONIA got an answer" in told.stderr.splitlines()[-1]
