"""The download from Kaggle, against a stand-in that speaks its protocol: whole, cut, refused, broken, hostile."""

import io
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kaggle_fixture import FILLER, Kaggle, archive_of, serving

from pipeline.data import kaggle, layouts, phantom, sources
from pipeline.errors import ProjectError
from pipeline.settings import Phantom

HOME = Path(__file__).resolve().parents[2]
TINY = Phantom(seed=2, train=8, val=2, test=4)
MIB = 2**20


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole data set in the Kaggle layout; read-only."""
    folder = tmp_path_factory.mktemp("kaggle") / "chest_xray"
    phantom.generate(TINY, folder)
    return folder


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """Where kagglehub keeps an archive that has not arrived whole."""
    return tmp_path / "cache" / "datasets" / kaggle.OWNER / kaggle.NAME / f"{kaggle.VERSION}.archive"


@pytest.fixture
def server(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    """A stand-in for Kaggle with the archive as published: the tree twice, and what a Mac leaves behind."""
    members = {}
    for path in sources.image_paths(tree):
        for prefix in ("chest_xray", "chest_xray/chest_xray"):
            members[f"{prefix}/{path}"] = (tree / path).read_bytes()
    members["chest_xray/chest_xray/.DS_Store"] = b"x"
    members["chest_xray/__MACOSX/chest_xray/train/NORMAL/._IM-0001-0001.jpeg"] = b"x"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(archive_of(members)) as running:
        _point_at(monkeypatch, running.address)
        yield running


def _point_at(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    from kagglesdk import kaggle_env

    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, address)


def _taken(folder: Path, target: Path) -> list[str]:
    sources.take(layouts.find(folder).images, target, link=True)
    return list(sources.image_paths(target))


def test_the_published_archive_arrives_once_and_whole(server: Kaggle, tmp_path: Path) -> None:
    folder = kaggle.download(tmp_path / "cache")
    assert _taken(folder, tmp_path / "raw") == sorted(phantom.names(TINY))
    assert server.calls[0]["ownerSlug"] == "paultimothymooney"
    assert server.calls[0]["datasetSlug"] == "chest-xray-pneumonia"
    before = len(server.calls)
    assert kaggle.download(tmp_path / "cache") == folder
    assert len(server.calls) == before  # what is there is not asked for again, so it works without a network


def test_a_connection_that_breaks_again_and_again_goes_on_each_time(server: Kaggle, tmp_path: Path) -> None:
    server.cut = 2 * MIB + 1000
    folder = kaggle.download(tmp_path / "cache")
    assert server.ranges == [f"{2 * MIB}-", f"{4 * MIB}-"]
    assert _taken(folder, tmp_path / "raw") == sorted(phantom.names(TINY))


def test_a_download_killed_half_way_goes_on_in_the_next_run(server: Kaggle, tmp_path: Path, part: Path) -> None:
    server.cut, server.stall = 3 * MIB + 1000, True
    script = (
        "import sys; from pathlib import Path; from kagglesdk import kaggle_env as e; "
        "e._env_to_endpoint[e.KaggleEnv.PROD] = sys.argv[1]; "
        "from pipeline.data import kaggle; kaggle.download(Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", script, server.address, str(tmp_path / "cache")]
    with subprocess.Popen(command, cwd=HOME, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert server.stalled.wait(60)
        while not part.exists() or part.stat().st_size < 3 * MIB:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    server.cut, server.stall = None, False
    folder = kaggle.download(tmp_path / "cache")
    assert server.ranges == [f"{3 * MIB}-"]
    assert _taken(folder, tmp_path / "raw") == sorted(phantom.names(TINY))


def test_a_network_that_goes_away_keeps_what_has_arrived(
    server: Kaggle, tmp_path: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part.parent.mkdir(parents=True)
    part.write_bytes(server.archive[:MIB])
    _point_at(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(ProjectError, match="cannot reach Kaggle"):
        kaggle.download(tmp_path / "cache")
    assert part.stat().st_size == MIB


def test_a_spoilt_part_is_thrown_away_and_fetched_again(server: Kaggle, tmp_path: Path, part: Path) -> None:
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * len(server.archive))  # as long as the real one: kagglehub takes it for complete
    assert _taken(kaggle.download(tmp_path / "cache"), tmp_path / "raw") == sorted(phantom.names(TINY))


def test_an_archive_that_is_broken_is_said_in_one_line(server: Kaggle, tmp_path: Path) -> None:
    server.archive = b"this is no archive" * (FILLER // 18)
    with pytest.raises(ProjectError, match="archive of .* is broken"):
        kaggle.download(tmp_path / "cache")


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_is_said_in_one_line(server: Kaggle, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(ProjectError, match=f"Kaggle answers {status} for paultimothymooney/chest-xray-pneumonia"):
        kaggle.download(tmp_path / "cache")


def test_no_member_lands_outside_the_cache(server: Kaggle, tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "victim"
    outside.mkdir()
    names = [
        "../" * 12 + str(outside).lstrip("/") + "/a",
        f"{outside}/b",
        "chest_xray/train/../../../../../../c",
        "..\\d",
    ]
    hostile = dict.fromkeys(names, b"evil")
    server.archive = archive_of(
        hostile | {f"chest_xray/{path}": (tree / path).read_bytes() for path in sources.image_paths(tree)}
    )
    kaggle.download(tmp_path / "home" / "cache")
    evil = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"evil"]
    assert len(evil) >= 3  # they were unpacked, tamed
    assert all(path.is_relative_to(tmp_path / "home" / "cache") for path in evil)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(("bound", "most"), [("MAX_BYTES", 10_000), ("MAX_MEMBERS", 3)])
def test_an_archive_that_unpacks_to_more_than_it_may_is_not_unpacked(
    bound: str, most: int, server: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kaggle, bound, most)
    with pytest.raises(ProjectError, match=f"would unpack to .* files of .* bytes; at most .*{most}"):
        kaggle.download(tmp_path / "cache")
    unpacked = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix == ".jpeg"]
    assert not unpacked


def test_only_a_zip_archive_is_unpacked(server: Kaggle, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        link = tarfile.TarInfo("chest_xray/train")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
    server.archive = stream.getvalue()
    with pytest.raises(ProjectError, match="is broken"):
        kaggle.download(tmp_path / "cache")
