"""DVC's note of who uses which file, written by DVC itself."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from dvc.fs import localfs
from dvc.rwlock import rwlock

from pipeline import dvc
from pipeline.retraining.clear_stale_locks import mend

STAGES = """\
stages:
  slow:
    cmd: touch begun && until [ -e go ]; do sleep 0.1; done && echo slow > slow.txt
    deps: [data.txt]
    outs: [slow.txt]
  quick:
    cmd: echo quick > quick.txt
    deps: [data.txt]
    outs: [quick.txt]
"""


@pytest.fixture
def note(tmp_path: Path) -> Path:
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    return tmp_path / ".dvc" / "tmp" / "rwlock"


def test_the_living_stay_and_the_dead_go(note: Path, tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    while "Z" not in Path(f"/proc/{dead.pid}/stat").read_text().rpartition(")")[2]:
        time.sleep(0.01)  # a zombie: nobody has asked yet how it ended
    gone = {"pid": dead.pid, "cmd": "dvc repro"}
    with rwlock(str(note.parent), localfs, "dvc repro", ["/read", "/both"], ["/written"], False):
        held = json.loads(note.read_text())
        with_dead = json.loads(note.read_text())
        with_dead["write"]["/other"] = gone
        with_dead["read"]["/read"].append(gone)
        with_dead["read"]["/alone"] = [gone]
        note.write_text(json.dumps(with_dead))
        assert mend(tmp_path) is True
        assert json.loads(note.read_text()) == held
    # DVC itself found its entries again when it was done.
    assert json.loads(note.read_text()) in ({}, {"read": {}, "write": {}})
    assert mend(tmp_path) is False
    dead.wait()


@pytest.mark.parametrize("damage", ["", '{"write": {"/a"', "[]", '{"write": {"/a": {}}}'])
def test_a_damaged_note_is_removed(note: Path, tmp_path: Path, damage: str) -> None:
    note.write_text(damage)
    mend(tmp_path)
    assert not note.exists()


def test_a_workspace_without_a_note_is_left_alone(tmp_path: Path) -> None:
    mend(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_stages_at_once_in_one_workspace_both_end_well(tmp_path: Path) -> None:
    """As two trainings do: the second one starts, mends, and ends while the first is under way."""
    (tmp_path / "dvc.yaml").write_text(STAGES)
    (tmp_path / "data.txt").write_text("data")
    subprocess.run(dvc.command("init", "--no-scm", "-q"), cwd=tmp_path, check=True)
    repro = dvc.command("--wait-for-lock", "repro", "--single-item")
    with (tmp_path / "log").open("w") as log:
        slow = subprocess.Popen([*repro, "slow"], cwd=tmp_path, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.05)
        mend(tmp_path)
        quick = subprocess.run([*repro, "quick"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert quick.returncode == 0, quick.stderr
        (tmp_path / "go").touch()
        assert slow.wait(timeout=60) == 0, (tmp_path / "log").read_text()
    lock = (tmp_path / "dvc.lock").read_text()
    assert "slow.txt" in lock
    assert "quick.txt" in lock
