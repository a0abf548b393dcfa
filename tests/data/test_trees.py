"""Folders that people bring: regular files are read, links and devices named, and nothing hangs."""

import os
from pathlib import Path

import pytest

from pipeline.data import trees


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "radiographs"
    (folder / "deep" / "er").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "a").write_bytes(b"a")
    (folder / "deep" / "er" / "b.dcm").write_bytes(b"b")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "c").write_bytes(b"x")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "deep" / "out").symlink_to(tmp_path)
    (folder / "deep" / "round").symlink_to(folder)
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    return folder


def test_everything_is_listed_once_and_no_link_is_entered(folder: Path) -> None:
    listed = [str(path.relative_to(folder)) for path in trees.entries(folder)]
    assert listed == ["a", "deep/er/b.dcm", "deep/out", "deep/round", "link", "pipe", "zero"]


def test_regular_files_alone_are_read_up_to_the_limit(folder: Path) -> None:
    assert trees.read(folder / "a", 1) == b"a"
    for name, why in (("link", "symbolic link"), ("zero", "symbolic link"), ("pipe", "no regular file")):
        with pytest.raises(trees.Unreadable, match=why):
            trees.read(folder / name, 100)
    with pytest.raises(trees.Unreadable, match="no regular file"):
        trees.read(Path("/dev/zero"), 100)
    with pytest.raises(trees.Unreadable, match="larger than 0 bytes"):
        trees.read(folder / "a", 0)
    with pytest.raises(trees.Unreadable, match="cannot be opened: No such file"):
        trees.read(folder / "nothing", 1)


@pytest.mark.parametrize("name", ["a", "./a", "deep/../a", "deep/er/b.dcm", "deep//er/./b.dcm"])
def test_a_file_inside_is_found_however_it_is_named(folder: Path, name: str) -> None:
    assert trees.inside(folder, name).read_bytes() in (b"a", b"b")
    assert trees.inside(folder, str(folder / name)) == trees.inside(folder, name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../secret", "outside SOURCE"),
        ("deep/../../secret", "outside SOURCE"),
        ("/etc/passwd", "outside SOURCE"),
        ("link", "symbolic link"),
        ("deep/out/secret", "symbolic link"),
        ("deep/round/a", "symbolic link"),
        ("pipe", "no regular file"),
        ("deep", "no regular file"),
        (".", "no regular file"),
        ("none.png", "not in SOURCE"),
        ("a/b", "not in SOURCE"),
        ("x" * 300, "not in SOURCE"),
    ],
)
def test_what_is_outside_missing_or_no_file_is_named(folder: Path, name: str, why: str) -> None:
    with pytest.raises(trees.Unreadable, match=why):
        trees.inside(folder, name)
