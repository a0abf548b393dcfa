import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import ProjectError
from pipeline.files import atomic_file, atomic_folder, read_json, write_json

HOME = Path(__file__).resolve().parents[1]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(RuntimeError), atomic_folder(folder) as temporary:
        (temporary / "new").touch()
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["old"]
    with atomic_folder(folder) as temporary:
        (temporary / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_json_is_stable_and_refuses_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": 2})
    assert path.read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 2, "b": 1}


def test_a_folder_is_there_at_every_moment_of_its_replacement(tmp_path):
    """A process that replaces it without end is watched, then killed: old or new, never none and never half."""
    folder = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from pipeline.files import atomic_folder\n"
        "for number in range(10**9):\n"
        "    with atomic_folder(Path(sys.argv[1])) as new:\n"
        "        (new / 'one').write_text(str(number)); (new / 'two').write_text(str(number))\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=HOME)
    try:
        while not folder.is_dir():
            assert writer.poll() is None
        for _ in range(2000):
            held = os.open(folder, os.O_RDONLY)  # raises where the name is nobody's
            os.close(held)
    finally:
        writer.kill()
        writer.wait()
    assert (folder / "one").read_text() == (folder / "two").read_text() != "0"


def test_what_is_read_as_json_is_there_and_is_json_or_the_error_says_what_to_do(tmp_path):
    file = tmp_path / "facts.json"
    with pytest.raises(ProjectError, match=r"facts.json is missing: run `make repro`"):
        read_json(file)
    assert read_json(file, otherwise=None) is None
    write_json(file, {"a": [1]})
    assert read_json(file, otherwise=None) == {"a": [1]}
    for broken in ("", "{", "[" * 100_000):
        file.write_text(broken)
        with pytest.raises(ProjectError, match=r"facts.json is no valid JSON"):
            read_json(file, otherwise=None)
