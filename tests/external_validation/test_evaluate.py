"""A hospital's own images: metrics, refusals, views, a local threshold, any number of images, and a wrong table."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import outcomes, settings
from pipeline.data.tables import read_table
from pipeline.reporting import markdown_blocks
from tests.champion_fixture import contract, logit_of, plain_guard, write_champion
from tests.image_fixture import chest_dicom, encoded, scene

CHECKOUT = Path(__file__).resolve().parents[2]
PER_CLASS = 40


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PIPELINE_ROOT": str(root), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "pipeline.external_validation.evaluate", *arguments]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flat radiographs (the tiny guard rejects contrast), brighter with pneumonia; and three that are refused."""
    root = tmp_path_factory.mktemp("site")
    shutil.copy(CHECKOUT / "params.yaml", root)
    write_champion(root, guard=plain_guard(0.0))
    folder = root / "radiographs"
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
        ("scene.png", encoded(scene(), "PNG")),
        ("broken.png", b"\x89PNG\r\n\x1a\n"),
        ("radiograph.dcm", chest_dicom()),
    ):
        (folder / name).write_bytes(data)
        rows.append((name, "NORMAL", name, "PA"))
    with (root / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "label", "patient", "view"), *rows])
    return root


@pytest.fixture(scope="module")
def report(root: Path) -> dict[str, Any]:
    told = run(root, "radiographs", "labels.csv", "--name", "a-hospital")
    assert told.returncode == 0, told.stderr
    assert "not a medical device" in told.stdout
    return json.loads((root / "metrics" / "site" / "a-hospital.json").read_text())


def test_counts_and_refusals(root: Path, report: dict[str, Any]) -> None:
    assert report["films"] == 2 * PER_CLASS + 3
    contents = [path.read_bytes() for path in sorted((root / "radiographs").iterdir()) if path.is_file()]
    assert report["copies"]["files"] == sum(contents.count(content) > 1 for content in contents) > 0
    assert report["copies"]["under_both_labels"] <= report["copies"]["files"]
    assert report["refusals"] == {"no_chest_radiograph": 2, "undecodable": 1}  # the scene, and the same scene as DICOM
    share, low, high = report["share_refused_by_guard"]
    assert share == pytest.approx(2 / 83, abs=1e-5)
    assert low < share < high


def test_auc_is_that_of_the_networks_answers(root: Path, report: dict[str, Any]) -> None:
    from PIL import Image

    tones = {label: [] for label in ("NORMAL", "PNEUMONIA")}
    for path in (root / "radiographs").glob("*-*.png"):
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


def test_a_rejection_counted_as_an_error_lowers_every_metric(report: dict[str, Any]) -> None:
    """Sensitivity and specificity over all images are those over the answered ones, times the share that was answered."""
    errors, accepted = report["refused_as_errors"], report["accepted"]
    assert errors["auc"][0] < accepted["auc"][0]
    answered = accepted["normal"] + accepted["pneumonia"]
    assert answered < report["films"]
    right = sum(
        accepted[f"{name}_at_sensitive"][0] * accepted[kind]
        for name, kind in (("sensitivity", "pneumonia"), ("specificity", "normal"))
    )
    assert errors["accuracy_at_sensitive"][0] == pytest.approx(right / report["films"], abs=1e-5)
    views = report["views"].values()
    assert sum(view["films"] - view["refused"] for view in views) == answered
    assert all(view["refused_as_errors"]["auc"][0] <= view["auc"][0] for view in views)


def test_ages_and_sexes_are_reported_apart(root: Path) -> None:
    """Bands of years in their order; an age that is no number stops before any image is read."""
    ages = ["0.5", "3", "17", "18", "39.9", "40", "60", ""]
    rows = [(*row, ages[place % 8], "FM"[place % 2]) for place, row in enumerate([*NORMAL, *ILL])]
    with (root / "aged.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "label", "patient", "age", "sex"), *rows])
    told = run(root, "radiographs", "aged.csv", "--name", "aged")
    assert told.returncode == 0, told.stderr
    kept = root / "metrics" / "site" / "aged.json"
    report = json.loads(kept.read_text())
    kept.unlink()
    bands = ["under 1", "1 to 5", "6 to 17", "18 to 39", "40 to 59", "60 and over", "unknown"]
    assert set(report["ages"]) == set(bands) and set(report["sexes"]) == {"F", "M"}
    for groups in (report["ages"], report["sexes"]):
        assert sum(group["films"] for group in groups.values()) == report["films"]
    with (root / "aged.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "label", "patient", "age"), (*NORMAL[0], "old")])
    told = run(root, "radiographs", "aged.csv")
    assert told.returncode != 0 and "age 'old' is no number of years" in told.stderr


def test_local_threshold_is_measured_on_the_other_half(report: dict[str, Any]) -> None:
    local = report["local_threshold"]
    assert 0 < local["threshold"] < 1
    assert local["fitted_on"] + local["normal"] + local["pneumonia"] == 2 * PER_CLASS
    assert len(local["sensitivity_at_local"]) == 3


def test_reliability_covers_every_accepted_radiograph(report: dict[str, Any]) -> None:
    assert sum(point["pictures"] for point in report["reliability"]) == 2 * PER_CLASS


def test_the_table_of_every_image_is_never_kept(root: Path, report: dict[str, Any]) -> None:
    rows = read_table(root / "reports" / "site" / "a-hospital.csv")
    assert len(rows) == report["films"] and list(rows[0]) == ["file", "status", "reason", "score", "outcome"]
    told = {row["file"]: row for row in rows}
    assert told["broken.png"]["status"] == "unreadable" and told["broken.png"]["reason"]
    assert told["scene.png"]["status"] == "rejected" and "score" in told["scene.png"]["reason"]
    assert not told["scene.png"]["outcome"] and not told["broken.png"]["score"]
    answered = [row for row in rows if row["status"] == "answered"]
    assert len(answered) == 2 * PER_CLASS
    limits = outcomes.thresholds(contract("1"))
    assert all(row["outcome"] == outcomes.outcome(float(row["score"]), limits) for row in answered)
    assert [path.name for path in (root / "metrics" / "site").iterdir()] == ["a-hospital.json"]


def labels(root: Path, name: str, rows: Sequence[Sequence[str]]) -> str:
    with (root / name).open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "label", "patient"), *rows])
    return name


NORMAL = [(f"NORMAL-{number}.png", "NORMAL", f"N{number}") for number in range(20)]
ILL = [(f"PNEUMONIA-{number}.png", "PNEUMONIA", f"P{number}") for number in range(20)]


@pytest.mark.parametrize(
    "rows",
    [
        NORMAL[:1], ILL[:1], NORMAL, ILL, [*NORMAL[:1], *ILL[:1]], [*NORMAL[:6], *ILL[:6]], [*NORMAL, *ILL],
        [("broken.png", "NORMAL", "1")], [("scene.png", "PNEUMONIA", "1")],
        [(name, label, "the same") for name, label, _ in [*NORMAL[:9], *ILL[:3]]],
    ],
    ids=lambda rows: f"{len(rows)} {rows[0][0]}",
)  # fmt: skip
def test_any_number_of_images_is_measured_and_what_is_undefined_is_null(
    root: Path, rows: list[tuple[str, ...]]
) -> None:
    told = run(root, "radiographs", labels(root, "few.csv", rows), "--name", "few")
    assert told.returncode == 0, told.stderr
    report = json.loads((root / "metrics" / "site" / "few.json").read_text())  # JSON knows no NaN
    assert report["films"] == len(rows)
    accepted = report["accepted"]
    for name in ("auc", "sensitivity_at_sensitive", "specificity_at_specific", "calibration_slope", "log_loss"):
        assert len(accepted[name]) == 3
    assert (accepted["auc"][0] is None) == (not (accepted["normal"] and accepted["pneumonia"]))
    assert (accepted["sensitivity_at_sensitive"][0] is None) == (not accepted["pneumonia"])
    assert (accepted["log_loss"][0] is None) == (not (accepted["normal"] + accepted["pneumonia"]))
    if len({patient for _, _, patient in rows}) <= 2:
        assert accepted["log_loss"][1:] == [None, None], "one patient of a class says nothing of other patients"
    (root / "metrics" / "site" / "few.json").unlink()


def test_results_without_a_name_lie_where_git_ignores_them(root: Path) -> None:
    folder = root / "St. Mary's radiographs"
    folder.mkdir()
    shutil.copy(root / "radiographs" / "NORMAL-0.png", folder)
    before = sorted((root / "metrics").rglob("*"))
    told = run(root, str(folder), labels(root, "one.csv", NORMAL[:1]))
    assert told.returncode == 0, told.stderr
    assert sorted((root / "metrics").rglob("*")) == before
    for suffix in ("json", "csv"):
        written = f"reports/site/St-Mary-s-radiographs.{suffix}"
        assert (root / written).is_file()
        ignored = subprocess.run(["git", "check-ignore", "-q", "--no-index", written], cwd=CHECKOUT, check=False)
        assert ignored.returncode == 0


HEADER = "file,label,patient\n"


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ("file,label\na.png,NORMAL\n", "line 1: no column patient"),
        (HEADER + "none.png,NORMAL,1\n", "line 2: none.png is not in SOURCE"),
        (HEADER + "broken.png,ILL,1\n", "line 2: label 'ILL'"),
        (HEADER + "broken.png,NORMAL\n", "line 2: no patient"),
        (HEADER + "broken.png,NORMAL, \n", "line 2: no patient"),
        (HEADER + ",NORMAL,1\n", "line 2: no file"),
        (HEADER + "\nbroken.png,NORMAL,1\n./broken.png,PNEUMONIA,1\n", "line 4: ./broken.png stands in line 3 already"),
        (HEADER + "radiograph.dcm,NORMAL,1\n../labels.csv,NORMAL,1\n", "line 3: ../labels.csv lies outside SOURCE"),
        (HEADER + "/etc/passwd,NORMAL,1\n", "line 2: /etc/passwd lies outside SOURCE"),
        (HEADER + "radiograph.dcm,NORMAL,1\nlink.png,NORMAL,1\n", "line 3: link.png is or passes a symbolic link"),
        (HEADER + "zero,NORMAL,1\n", "line 2: zero is or passes a symbolic link"),
        (HEADER + "pipe,NORMAL,1\n", "line 2: pipe is no regular file"),
        (HEADER + '"radiograph.dcm,NORMAL,1\nscene.png,NORMAL,2\n', "line 2: an open quote"),
        ((HEADER + "radiograph.dcm,NORMAL,1\n").replace(",", ";"), "line 1: separated by ';'"),
        (HEADER, "no line"),
    ],
)
def test_a_wrong_table_is_named_in_one_line(root: Path, table: str, word: str) -> None:
    for name, target in (("link.png", root / "labels.csv"), ("zero", Path("/dev/zero"))):
        if not (root / "radiographs" / name).is_symlink():
            (root / "radiographs" / name).symlink_to(target)
    if not (root / "radiographs" / "pipe").exists():
        os.mkfifo(root / "radiographs" / "pipe")
    (root / "wrong.csv").write_text(table)
    told = run(root, "radiographs", "wrong.csv")
    assert told.returncode == 1
    assert word in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_table_that_is_not_there_is_named(root: Path) -> None:
    for arguments, said in (
        (("nowhere", "labels.csv"), "SOURCE: nowhere is no folder"),
        (("radiographs", "nowhere.csv"), "LABELS: nowhere.csv is no file"),
        (("radiographs", "radiographs"), "LABELS: radiographs is no file"),
        (("radiographs", "labels.csv", "--name", "../up"), "NAME: '../up' may hold"),
    ):
        told = run(root, *arguments)
        assert told.returncode == 1 and said in told.stderr and told.stderr.count("\n") == 1


def test_odd_names_and_a_mark_in_front_are_read(root: Path) -> None:
    """The names as `predict` writes them, the table as a spreadsheet saves it."""
    content = (root / "radiographs" / "NORMAL-0.png").read_bytes()
    names = {b"=1+1.png": "%3D1+1.png", b"caf\xe9.png": "caf%E9.png", "\u00fc 100%.png".encode(): "\u00fc 100%.png"}
    for name in names:
        (root / "radiographs" / os.fsdecode(name)).write_bytes(content)
    lines = "".join(f"{name},NORMAL,p{number}\r\n" for number, name in enumerate(names.values()))
    (root / "odd.csv").write_bytes(f"\ufeff{HEADER.strip()}\r\n{lines}=1+1.png,NORMAL,p9\r\n".encode())
    told = run(root, "radiographs", "odd.csv")
    assert told.returncode == 1 and "line 5: =1+1.png stands in line 2 already" in told.stderr
    (root / "odd.csv").write_bytes(f"\ufeff{HEADER.strip()}\r\n{lines}".encode())
    told = run(root, "radiographs", "odd.csv")
    assert told.returncode == 0, told.stderr
    assert [row["file"] for row in read_table(root / "reports" / "site" / "radiographs.csv")] == list(names.values())


def test_the_documents_are_written_beside_a_site_of_one_image(root: Path, tmp_path: Path) -> None:
    """The committed study with two further hospitals: one image, and one class alone; and what 0.1.0 left of such a site."""
    version = (CHECKOUT / "models" / "CHAMPION").read_text().strip()
    folder = tmp_path / "metrics"
    shutil.copytree(CHECKOUT / "metrics", folder)
    (tmp_path / "predictions").symlink_to(CHECKOUT / "predictions")
    for name, rows in (("one", NORMAL[:1]), ("alone", ILL)):
        told = run(root, "radiographs", labels(root, "few.csv", rows), "--name", name)
        assert told.returncode == 0, told.stderr
        kept = root / "metrics" / "site" / f"{name}.json"
        report = json.loads(kept.read_text()) | {"version": version}
        (folder / "site" / f"{name}.json").write_text(json.dumps(report))
        kept.unlink()
    older = report | {"name": "older", "accepted": {"normal": 0, "pneumonia": 20}, "views": {}}
    (folder / "site" / "older.json").write_text(json.dumps(older))

    runs = json.loads((folder / "site_runs" / "nih-adults.json").read_text())
    radiographs = [{"file": "a.png", "pneumonia": True, "patient": "1", "view": "PA"}]
    answers = {name: answer | {"logits": [1.0]} for name, answer in runs["runs"].items()}
    (folder / "site_runs" / "one.json").write_text(json.dumps({"name": "one", "films": radiographs, "runs": answers}))
    blocks = markdown_blocks.blocks(folder, settings.load(CHECKOUT / "params.yaml"))
    for name in ("one", "alone", "older"):
        assert f"| external test ({name}), all images, rejected ones scored too | " in blocks["answer"]
    assert "1 images of one (1 with pneumonia)" in blocks["elsewhere"]
    assert "nan" not in blocks["elsewhere"] + blocks["answer"]
