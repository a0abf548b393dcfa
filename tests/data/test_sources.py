"""How the images arrive, from a copy in the Kaggle layout or generated; and what a person reads when they cannot."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.data import layouts, phantom, sources
from pipeline.settings import Phantom

HOME = Path(__file__).resolve().parents[2]
TINY = Phantom(seed=2, train=8, val=2, test=4)
AWAY = {
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
}  # nothing listens: no network anywhere


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole data set in the Kaggle layout; read-only."""
    folder = tmp_path_factory.mktemp("kaggle") / "chest_xray"
    phantom.generate(TINY, folder)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project root with tiny settings, to be filled by `ingest`."""
    return _write_root(tmp_path / "project", "chest-xray-pneumonia")


def _write_root(folder: Path, dataset: str) -> Path:
    parameters = yaml.safe_load((HOME / "params.yaml").read_text())
    parameters["ingest"] = {"dataset": dataset, "phantom": {"seed": 2, "train": 8, "val": 2, "test": 4}}
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters))
    return folder


def _ingest(root: Path, *before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key != "CXR_DATA"}
    command = [*before, sys.executable, "-m", "pipeline.stages.ingest"]
    settings = clean | {"PIPELINE_ROOT": str(root), "HOME": str(root)} | environment
    return subprocess.run(command, check=False, cwd=HOME, env=settings, capture_output=True, text=True)


def _said(result: subprocess.CompletedProcess[str]) -> str:
    """The one line of a failed `ingest`."""
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("ingest: ")]
    assert len(lines) == 1 and "Traceback" not in result.stderr, result.stderr
    return lines[0]


# Taking images along


def test_only_images_are_taken_and_what_stays_is_said(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "copy"
    shutil.copytree(tree, source)
    (source / "__MACOSX" / "train").mkdir(parents=True)
    for name in (".DS_Store", "._IM-0001-0001.jpeg", "notes.txt"):
        (source / "train" / "NORMAL" / name).write_text("x")
    sources.take(layouts.find(source).images, tmp_path / "raw", link=False)
    assert list(sources.image_paths(tmp_path / "raw")) == sorted(phantom.names(TINY))
    assert "3 files left behind" in caplog.text and "notes.txt" in caplog.text


def test_a_copy_is_a_copy_and_a_link_costs_nothing(tree: Path, tmp_path: Path) -> None:
    images, path = layouts.find(tree).images, next(iter(phantom.names(TINY)))
    sources.take(images, tmp_path / "copies", link=False)
    sources.take(images, tmp_path / "links", link=True)
    assert (tmp_path / "copies" / path).read_bytes() == (tree / path).read_bytes()
    assert not (tmp_path / "copies" / path).samefile(tree / path)
    assert (tmp_path / "links" / path).samefile(tree / path)


# What the set is


def test_the_digest_is_of_sorted_lines_and_sees_every_byte_and_name(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "raw")
    described = sources.describe(tmp_path / "raw", "phantom")
    files = [path for path in tree.rglob("*") if path.is_file()]
    lines = sorted(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(tree).as_posix()}\n" for p in files)
    assert described == {
        "dataset": "phantom",
        "edition": "phantom",
        "pictures": 14,
        "bytes": sum(path.stat().st_size for path in files),
        "digest": hashlib.sha256("".join(lines).encode()).hexdigest(),
    }
    first = tmp_path / "raw" / next(sources.image_paths(tree))
    first.rename(first.with_name("IM-9999-0001.jpeg"))
    renamed = sources.describe(tmp_path / "raw", "phantom")["digest"]
    first.with_name("IM-9999-0001.jpeg").write_bytes(b"other")
    assert len({described["digest"], renamed, sources.describe(tmp_path / "raw", "phantom")["digest"]}) == 3


def test_the_edition_is_read_off_the_sizes(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "raw")
    name = "chest-xray-pneumonia"
    assert sources.describe(tmp_path / "raw", name)["edition"] == "original"
    for path in sources.image_paths(tmp_path / "raw"):
        image = phantom.radiograph(2, path).resize((224, 224))
        image.save(tmp_path / "raw" / path, format="JPEG")
    assert sources.describe(tmp_path / "raw", name)["edition"] == "224px"


# The stage


def test_a_copy_on_disk_arrives_whole(tree: Path, root: Path) -> None:
    result = _ingest(root, CXR_DATA=str(tree))
    assert result.returncode == 0, result.stderr
    described = json.loads((root / "data" / "dataset.json").read_text())
    assert described["dataset"] == "chest-xray-pneumonia" and described["pictures"] == 14
    assert list(sources.image_paths(root / "data" / "raw")) == sorted(phantom.names(TINY))


def test_phantoms_arrive_without_any_source(tmp_path: Path) -> None:
    root = _write_root(tmp_path / "project", "phantom")
    (root / "data" / ".raw.1.tmp").mkdir(parents=True)  # left by a run that was killed
    result = _ingest(root, **AWAY)
    assert result.returncode == 0, result.stderr
    assert json.loads((root / "data" / "dataset.json").read_text())["edition"] == "phantom"
    assert sorted(path.name for path in (root / "data").iterdir()) == ["dataset.json", "raw"]


def test_without_network_and_copy_one_line_says_what_can_be_done(root: Path) -> None:
    line = _said(_ingest(root, **AWAY))
    assert "cannot reach Kaggle" in line
    assert all(way in line for way in ("network", "make repro SOURCE=", "phantom"))


def test_a_wrong_copy_leaves_the_earlier_images_alone(tree: Path, root: Path) -> None:
    assert _ingest(root, CXR_DATA=str(tree)).returncode == 0
    assert "is no folder" in _said(_ingest(root, CXR_DATA=str(root / "nowhere")))
    assert len(list(sources.image_paths(root / "data" / "raw"))) == 14


def test_an_unwritable_folder_is_named(tree: Path, root: Path) -> None:
    (root / "data").mkdir(mode=0o555)
    # root may write anywhere unless it gives that right away
    powerless = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.geteuid() == 0 else []
    line = _said(_ingest(root, *powerless, CXR_DATA=str(tree)))
    assert "Permission denied" in line and str(root / "data") in line


def test_a_full_disk_is_named_and_earlier_images_stay(tree: Path, root: Path) -> None:
    (root / "data").mkdir()
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine allows no mount of one's own: the full disk was NOT tried")
    script = (
        'mount -t tmpfs -o size=256k none "$PIPELINE_ROOT/data" && mkdir "$PIPELINE_ROOT/data/raw" && '
        'echo old > "$PIPELINE_ROOT/data/raw/old" && '
        '"$0" "$@"; status=$?; cat "$PIPELINE_ROOT/data/raw/old"; exit $status'
    )
    for dataset in ("chest-xray-pneumonia", "phantom"):
        parameters = (root / "params.yaml").read_text()
        (root / "params.yaml").write_text(
            parameters.replace("dataset: chest-xray-pneumonia", f"dataset: {dataset}").replace("train: 8", "train: 60")
        )
        big = tree if dataset == "phantom" else _many(tree, root / "many")
        result = _ingest(root, "unshare", "-rm", "sh", "-c", script, CXR_DATA=str(big))
        line = _said(result)
        assert "disk is full" in line and str(root / "data" / "raw") in line
        assert result.stdout == "old\n"


def _many(tree: Path, target: Path) -> Path:
    """The tree with more images than the small disk of the test holds."""
    shutil.copytree(tree, target)
    image = next((tree / "train" / "NORMAL").iterdir())
    for number in range(60):
        shutil.copy(image, target / "train" / "NORMAL" / f"IM-{number:04}-0009.jpeg")
    return target


def test_no_image_is_tracked_by_git() -> None:
    if not (HOME / ".git").exists():
        pytest.skip("no git checkout: NOT checked that data/raw is free of tracked files")
    tracked = subprocess.run(["git", "ls-files", "data/raw"], cwd=HOME, capture_output=True, text=True, check=True)
    assert tracked.stdout == ""


@pytest.mark.parametrize("kind", ["link", "pipe", "link to a folder"])
def test_a_file_that_became_a_link_or_a_pipe_since_it_was_listed_is_not_followed(kind: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of somebody else")
    source = tmp_path / "IM-0001-0001.jpeg"
    if kind == "pipe":
        os.mkfifo(source)
    else:
        source.symlink_to(secret if kind == "link" else tmp_path)
    with pytest.raises(OSError, match=r"symbolic links|regular file"):
        sources.take({"train/NORMAL/IM-0001-0001.jpeg": source}, tmp_path / "raw", link=False)
    assert not [path for path in (tmp_path / "raw").rglob("*") if path.is_file()]
