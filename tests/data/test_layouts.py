"""The layouts in which a data set arrives, what is not followed there, and that `ingest` and `validate` take each of them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline import labels
from pipeline.data import layouts, phantom, sources
from pipeline.data.patients import patient_of
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.settings import Phantom

HOME = Path(__file__).resolve().parents[2]
TINY = Phantom(seed=2, train=8, val=2, test=4)
SUBTYPES = {"normal": "NORMAL", "bacterial": "BACTERIA", "viral": "VIRUS"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated radiographs in Kaggle's layout; read-only."""
    folder = tmp_path_factory.mktemp("kaggle") / "chest_xray"
    phantom.generate(TINY, folder)
    return folder


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough patients for a test set; read-only."""
    folder = tmp_path_factory.mktemp("many") / "chest_xray"
    phantom.generate(Phantom(seed=3, train=120, val=2, test=4), folder)
    return folder


def flat(tree: Path, target: Path, name: str = "{number}.jpeg") -> Path:
    """The training images in a flat folder, under names of one's own."""
    for label in labels.CLASSES:
        (target / label).mkdir(parents=True)
        for number, path in enumerate(sorted((tree / "train" / label).iterdir())):
            shutil.copy(path, target / label / name.format(number=number, label=label))
    return target


def authors(tree: Path, target: Path) -> Path:
    """The tree under the names of the authors' archive, val in train."""
    for number, path in enumerate(sources.image_paths(tree)):
        split, label, name = path.split("/")
        disease = SUBTYPES[patient_of(name)[1]]
        place = target / "CellData" / "chest_xray" / ("train" if split == "val" else split) / label
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree / path, place / f"{disease}-{10_000 + number}-0001.jpeg")
    for label in ("CNV", "NORMAL"):  # the eyes of the same archive
        (target / "CellData" / "OCT" / "train" / label).mkdir(parents=True)
    return target


# Where the tree is


def test_the_tree_is_found_at_every_depth_and_the_outermost_counts(tree: Path, tmp_path: Path) -> None:
    layout = layouts.find(tree)
    assert sorted(layout.images) == sorted(phantom.names(TINY))
    assert layouts.find(tree.parent) == layout
    assert layout.dataset == "chest-xray-pneumonia" and layout.summary().startswith("Kaggle's layout: train/NORMAL 2")
    doubled = tmp_path / "archive"
    shutil.copytree(tree, doubled / "chest_xray" / "chest_xray")
    assert sorted(layouts.find(doubled).images) == sorted(phantom.names(TINY))
    shutil.copytree(tree, doubled / "chest_xray", dirs_exist_ok=True)
    shutil.copytree(tree, doubled / "__MACOSX" / "chest_xray")
    inner = layouts.find(doubled).images.values()
    assert {path.parents[2] for path in inner} == {doubled / "chest_xray"}


def test_the_authors_archive_has_no_val_and_names_of_its_own(tree: Path, tmp_path: Path) -> None:
    layout = layouts.find(authors(tree, tmp_path))
    assert {path.rpartition("/")[0] for path in layout.images} == {
        f"{split}/{label}" for split in ("train", "test") for label in labels.CLASSES
    }
    assert layout.dataset == "chest-xray-pneumonia" and "authors' archive" in layout.summary()
    assert layout.named == len(layout.images) == 14


@pytest.mark.parametrize(
    ("name", "patient", "subtype"),
    [
        ("NORMAL-3464500-0002.jpeg", "NORMAL-3464500", "normal"),
        ("BACTERIA-1008087-0001.jpeg", "BACTERIA-1008087", "bacterial"),
        ("VIRUS-28501-0001.jpeg", "VIRUS-28501", "viral"),
        ("patient17_2.png", "patient17", "unknown"),
        ("patient17_2024-03-01_b.jpeg", "patient17", "unknown"),
        ("FUNGUS-1-1.jpeg", "FUNGUS-1-1", "unknown"),
    ],
)
def test_the_patient_is_read_off_the_authors_names_and_one_s_own(name: str, patient: str, subtype: str) -> None:
    assert patient_of(name) == (patient, subtype)


def test_of_a_flat_folder_whole_patients_are_held_out(many: Path, tmp_path: Path) -> None:
    folder = flat(many, tmp_path / "own", "patient{number}_1.jpeg")
    for label in labels.CLASSES:
        for path in list((folder / label).iterdir()):
            path.with_name(path.name.replace("_1", "_2")).write_bytes(path.read_bytes() + b"\0")
        copied = sorted((folder / label).iterdir())[0]
        shutil.copy(copied, folder / label / f"patientcopy{label}_1.jpeg")
    layout = layouts.find(folder)
    assert layout.dataset == "own-images" and "flat folder" in layout.summary() and "20 %" in layout.summary()
    sides: dict[str, set[str]] = {}
    for path, file in layout.images.items():
        split, _, name = path.split("/")
        sides.setdefault(patient_of(name)[0], set()).add(split)
        sides.setdefault(hashlib.sha256(file.read_bytes()).hexdigest(), set()).add(split)
    assert all(len(side) == 1 for side in sides.values()), "a patient, or one image, is on both sides"
    assert {"test", "train"} == set().union(*sides.values())
    (folder / "NORMAL" / "patientlate_1.jpeg").write_bytes(b"more")
    assert layout.images.items() <= layouts.find(folder).images.items(), "one more image moves nobody"


@pytest.mark.parametrize("missing", ["test/NORMAL", "train/PNEUMONIA"])
def test_a_class_that_is_missing_or_empty_is_named(tree: Path, tmp_path: Path, missing: str) -> None:
    shutil.copytree(tree, tmp_path / "set")
    shutil.rmtree(tmp_path / "set" / missing)
    with pytest.raises(ProjectError, match=f"{missing} is missing; expected"):
        layouts.find(tmp_path / "set")
    (tmp_path / "set" / missing).mkdir()
    (tmp_path / "set" / missing / ".DS_Store").touch()
    with pytest.raises(ProjectError, match=f"{missing} holds no image"):
        layouts.find(tmp_path / "set")


def test_a_folder_of_another_shape_is_refused(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="nowhere is no folder; expected train and test"):
        layouts.find(tmp_path / "nowhere")
    (tmp_path / "photos").mkdir()
    with pytest.raises(ProjectError, match="holds no data set; expected train and test"):
        layouts.find(tmp_path)
    shutil.copytree(tree, tmp_path / "one")
    shutil.copytree(tree, tmp_path / "two")
    with pytest.raises(ProjectError, match=r"several data sets: .*one, .*two; name one"):
        layouts.find(tmp_path)
    shutil.rmtree(tmp_path / "one" / "test")
    with pytest.raises(ProjectError, match="has train and val, but no test"):
        layouts.find(tmp_path / "one")
    few = flat(tree, tmp_path / "few")
    for path in sorted((few / "NORMAL").iterdir())[1:]:
        path.unlink()
    with pytest.raises(ProjectError, match="NORMAL holds 1 patients: too few"):
        layouts.find(few)


# What is not followed


def test_links_and_devices_are_left_behind_and_named(
    many: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, secret = flat(many, tmp_path / "own"), tmp_path / "secret.jpeg"
    expected = layouts.find(folder).images
    secret.write_bytes(b"not yours")
    (folder / "NORMAL" / "link.jpeg").symlink_to(secret)
    (folder / "NORMAL" / "zero.jpeg").symlink_to("/dev/zero")
    os.mkfifo(folder / "NORMAL" / "pipe.jpeg")
    (folder / "NORMAL" / "folder.jpeg").mkdir()
    layout = layouts.find(folder)
    assert layout.images == expected
    assert "4 files left behind" in caplog.text and "link.jpeg" in caplog.text

    (folder / "NORMAL").rename(tmp_path / "elsewhere")
    (folder / "NORMAL").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ProjectError, match="NORMAL is a symbolic link, which is not followed"):
        layouts.find(folder)


def test_a_linked_split_is_not_followed(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "set")
    (tmp_path / "set" / "test").rename(tmp_path / "elsewhere")
    (tmp_path / "set" / "test").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ProjectError, match="test is a symbolic link, which is not followed"):
        layouts.find(tmp_path / "set")


# Through the stages


def run(stage: str, root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"pipeline.stages.{stage}"]
    settings = os.environ | {"PIPELINE_ROOT": str(root), "HOME": str(root)} | environment
    return subprocess.run(command, check=False, cwd=HOME, env=settings, capture_output=True, text=True)


def arrived(root: Path, source: Path) -> list[dict[str, str]]:
    """The manifest after `ingest` and `validate`."""
    parameters = yaml.safe_load((HOME / "params.yaml").read_text())
    parameters["ingest"]["dataset"] = "chest-xray-pneumonia"
    root.mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(parameters))
    for stage in ("ingest", "validate"):
        done = run(stage, root, CXR_DATA=str(source))
        assert done.returncode == 0, done.stderr
    assert read_table(root / "data" / "manifest" / "quarantine.csv") == []
    return read_table(root / "data" / "manifest" / "manifest.csv")


def test_the_authors_archive_is_taken_and_passes(tree: Path, tmp_path: Path) -> None:
    rows = arrived(tmp_path / "project", authors(tree, tmp_path / "archive"))
    assert {row["split"] for row in rows} == {"train", "test"} and len(rows) == 14
    assert {row["subtype"] for row in rows} == {"normal", "bacterial", "viral"}
    assert json.loads((tmp_path / "project" / "data" / "dataset.json").read_text())["dataset"] == "chest-xray-pneumonia"


def test_a_flat_folder_is_taken_and_passes_whatever_its_names(many: Path, tmp_path: Path) -> None:
    source = flat(many, tmp_path / "own", "{label} {number}.jpeg")
    normal = source / "NORMAL"
    plain = next(normal.iterdir())
    odd = {
        b"=1+1.jpeg": "%3D1+1.jpeg",
        b"-2.JPG": "%2D2.JPG",
        b"caf\xe9.jpeg": "caf%E9.jpeg",
        b"a\nb.jpeg": "a%0Ab.jpeg",
    }
    for number, name in enumerate(odd):
        (normal / os.fsdecode(name)).write_bytes(plain.read_bytes() + bytes(number + 1))
    (normal / "0007.jpeg").write_bytes(plain.read_bytes() + bytes(40))
    (normal / "7.jpeg").write_bytes(plain.read_bytes() + bytes(41))
    phantom.radiograph(5, "train/NORMAL/IM-0001-0001.jpeg").save(normal / "deep.png")
    rows = arrived(tmp_path / "project", source)
    paths = {row["path"].rpartition("/")[2]: row for row in rows}
    assert set(odd.values()) | {"deep.png"} <= set(paths)
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert {(row["label"], row["subtype"]) for row in rows} == {("NORMAL", "normal"), ("PNEUMONIA", "unknown")}
    assert paths["0007.jpeg"]["patient"] == "0007"
    assert json.loads((tmp_path / "project" / "data" / "dataset.json").read_text())["dataset"] == "own-images"


def test_a_stray_name_in_the_public_set_is_still_an_error(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "set")
    next((tmp_path / "set" / "train" / "NORMAL").iterdir()).rename(
        tmp_path / "set" / "train" / "NORMAL" / "holiday.jpeg"
    )
    with pytest.raises(AssertionError, match=r"labels \(the file name's subtype fits the label"):
        arrived(tmp_path / "project", tmp_path / "set")


def test_repro_names_the_layout_before_it_replaces_anything(many: Path, tmp_path: Path) -> None:
    source = flat(many, tmp_path / "own")
    environment = {key: value for key, value in os.environ.items() if key != "CXR_DATA"}
    command = [sys.executable, "-m", "pipeline.commands.repro", "--source", str(source), "--check"]
    done = subprocess.run(command, check=False, cwd=HOME, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{source} holds a flat folder of one's own images, 20 % of its patients held out as test: " in done.stderr
    assert "names tell no patient" in done.stderr
