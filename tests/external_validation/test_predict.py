"""`predict`: any images without labels, one line each, whatever they lie in; killed and gone on with; nothing followed."""

import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.tables import read_table
from pipeline.outcomes import NONE, SIGNS
from tests.champion_fixture import logit_of, plain_guard, write_champion
from tests.image_fixture import chest_dicom, encoded, scene

CHECKOUT = Path(__file__).resolve().parents[2]
COLUMNS = ["file", "status", "reason", "score", "outcome"]


def command(root: Path, *arguments: str | Path) -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, "PIPELINE_ROOT": str(root), "PYTHONPATH": str(CHECKOUT)}
    return [sys.executable, "-m", "pipeline.external_validation.predict", *map(str, arguments)], environment


def run(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words, environment = command(root, *arguments)
    return subprocess.run(words, env=environment, cwd=root, capture_output=True, text=True, check=False)


def told(root: Path, *arguments: str | Path) -> dict[str, dict[str, str]]:
    """The table's rows by file, after a run that ended well."""
    done = run(root, "--out", root / "out.csv", *arguments)
    assert done.returncode == 0, done.stderr
    assert "not a medical device" in done.stdout
    rows = read_table(root / "out.csv")
    assert all(list(row) == COLUMNS for row in rows)
    return {row["file"]: row for row in rows}


def tone(grey: int) -> np.ndarray:
    """A flat image: the tiny input check rejects contrast."""
    return np.full((70, 70), grey, np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copy(CHECKOUT / "params.yaml", tmp_path)
    write_champion(tmp_path, guard=plain_guard(0.0))
    return tmp_path


@pytest.fixture
def radiographs(root: Path) -> Path:
    folder = root / "radiographs"
    (folder / "study" / "series").mkdir(parents=True)
    (folder / "bright.png").write_bytes(encoded(tone(200), "PNG"))
    (folder / "dark.jpeg").write_bytes(encoded(tone(40)))
    (folder / "study" / "series" / "1.2.840.1").write_bytes(
        chest_dicom(np.full((70, 70), 40, np.uint8), BodyPartExamined="CHEST")
    )
    (folder / "scene.png").write_bytes(encoded(scene(), "PNG"))
    (folder / "report.txt").write_text("no image")
    (folder / ".DS_Store").write_bytes(b"x")
    return folder


def test_every_file_has_a_line_with_the_network_s_own_score(root: Path, radiographs: Path) -> None:
    rows = told(root, radiographs)
    assert list(rows) == ["bright.png", "dark.jpeg", "report.txt", "scene.png", "study/series/1.2.840.1"]
    assert [row["status"] for row in rows.values()] == ["answered", "answered", "unreadable", "rejected", "answered"]
    expected = 1 / (1 + np.exp(-logit_of(tone(200))))
    assert float(rows["bright.png"]["score"]) == pytest.approx(expected, abs=1e-5)
    assert rows["bright.png"]["outcome"] == SIGNS and rows["dark.jpeg"]["outcome"] == NONE
    assert rows["report.txt"]["reason"] == "the file is of no known image type; JPEG, PNG, TIFF and DICOM are read"
    assert rows["scene.png"]["reason"].startswith("not recognised as a frontal chest radiograph (score")
    assert not rows["report.txt"]["score"] and not rows["scene.png"]["outcome"]


def test_files_patterns_and_folders_can_be_named_together(root: Path, radiographs: Path) -> None:
    spaced = root / "my own radiographs"
    shutil.copytree(radiographs, spaced)
    assert list(told(root, "my own radiographs")) == list(told(root, radiographs))
    assert list(told(root, "radiographs/bright.png")) == ["bright.png"]
    assert list(told(root, "radiographs/*.png radiographs/dark.jpeg")) == [
        "radiographs/bright.png",
        "radiographs/scene.png",
        "radiographs/dark.jpeg",
    ]
    assert list(told(root, "'my own radiographs/bright.png' radiographs/study")) == [
        "my own radiographs/bright.png", "radiographs/study/series/1.2.840.1",
    ]  # fmt: skip


def archive(members: dict[str, bytes], **options: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, content in members.items():
            writer.writestr(name, content)
    return stream.getvalue()


def test_archives_are_read_without_unpacking(root: Path, radiographs: Path) -> None:
    bright = (radiographs / "bright.png").read_bytes()
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("a/b/bright", bright)
        writer.writestr("../outside.png", bright)
        writer.writestr("__MACOSX/a/._bright", b"x")
        writer.writestr("a/.DS_Store", b"x")
        writer.writestr("bomb", bytes(60 * 2**20))
        writer.writestr("inner.zip", archive({"c.png": bright}))
        writer.writestr(link, "/etc/passwd")
    (radiographs / "study" / "radiographs.zip").write_bytes(stream.getvalue())
    locked = bytearray(archive({"locked.png": bright}))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (radiographs / "locked.zip").write_bytes(locked)
    (radiographs / "cut.zip").write_bytes(stream.getvalue()[:3000])
    damaged = bytearray(archive({"damaged.png": bright * 20}))
    damaged[60:70] = bytes(10)
    (radiographs / "damaged.zip").write_bytes(damaged)

    rows = told(root, radiographs)
    assert rows["study/radiographs.zip/a/b/bright"]["outcome"] == SIGNS
    assert (
        rows["study/radiographs.zip/../outside.png"]["outcome"] == SIGNS and not (radiographs / "outside.png").exists()
    )
    for name, reason in (
        ("study/radiographs.zip/bomb", "larger than"),
        ("study/radiographs.zip/inner.zip", "the file is a ZIP file"),
        ("study/radiographs.zip/link.png", "symbolic link"),
        ("locked.zip/locked.png", "locked by a password"),
        ("cut.zip", "a zip archive that cannot be opened"),
        ("damaged.zip/damaged.png", "cannot be unpacked"),
    ):
        assert rows[name]["status"] == "unreadable" and reason in rows[name]["reason"], name
    assert not any("MACOSX" in name or "DS_Store" in name for name in rows)
    assert list(told(root, radiographs / "study" / "radiographs.zip"))[0] == "radiographs.zip/a/b/bright"


def test_links_and_devices_are_named_and_not_followed(root: Path, radiographs: Path) -> None:
    (radiographs / "link.png").symlink_to(radiographs / "bright.png")
    (radiographs / "zero").symlink_to("/dev/zero")
    (radiographs / "away").symlink_to(root)
    os.mkfifo(radiographs / "pipe")
    with (radiographs / "huge").open("wb") as stream:
        stream.truncate(2**40)  # takes no room on the disk
    rows = told(root, radiographs)
    for name in ("link.png", "zero", "away"):
        assert rows[name]["reason"] == "a symbolic link, which is not followed"
    assert rows["pipe"]["reason"] == "no regular file"
    assert "larger than" in rows["huge"]["reason"]
    done = run(root, "--out", root / "out.csv", "/dev/zero")
    assert done.returncode == 1 and "/dev/zero is no folder and no regular file" in done.stderr


def test_names_that_compute_or_are_no_utf_8_are_written_harmlessly(root: Path, radiographs: Path) -> None:
    for name in (
        b"=1+1.png",
        b"@SUM(A1).png",
        b"+1.png",
        b"-1.png",
        b"caf\xe9.png",
        b"a\nb.png",
        b'comma, "quote".png',
    ):
        shutil.copy(radiographs / "bright.png", radiographs / os.fsdecode(name))
    rows = told(root, radiographs)
    assert {
        "%3D1+1.png",
        "%40SUM(A1).png",
        "%2B1.png",
        "%2D1.png",
        "caf%E9.png",
        "a%0Ab.png",
        'comma, "quote".png',
    } <= set(rows)
    assert all(not cell.startswith(("=", "+", "-", "@")) for row in rows.values() for cell in row.values())


def test_one_crash_of_a_decoder_is_one_line(root: Path, radiographs: Path) -> None:
    """A file on which the reader itself fails: the others are answered all the same."""
    (root / "sitecustomize.py").write_text(
        "from pipeline.data import imaging\n"
        "original = imaging.decode\n"
        "def decode(data, side, limits):\n"
        "    if len(data) < 300: raise RecursionError('deep')\n"
        "    return original(data, side, limits)\n"
        "imaging.decode = decode\n"
    )
    words, environment = command(root, "--out", "out.csv", radiographs)
    environment["PYTHONPATH"] = f"{root}{os.pathsep}{CHECKOUT}"
    done = subprocess.run(words, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["file"]: row for row in read_table(root / "out.csv")}
    assert rows["bright.png"]["reason"] == "the decoder failed (RecursionError)"
    assert rows["dark.jpeg"]["outcome"] == NONE


def test_the_status_is_0_unless_nothing_could_be_read(root: Path, radiographs: Path) -> None:
    done = run(root, "--out", root / "out.csv", radiographs / "report.txt")
    assert done.returncode == 1 and "none of the 1 files could be read" in done.stderr.splitlines()[-1]
    assert read_table(root / "out.csv")[0]["status"] == "unreadable", "the table says why"
    for arguments, said in (
        (["--out", root / "out.csv", root / "nowhere"], "nowhere is no folder"),
        (["--out", root / "none" / "out.csv", radiographs], "no folder that can be written to"),
        (["--out", radiographs, radiographs], "is a folder; name a file"),
        (["--out", "", ""], "give SOURCE (a folder"),
    ):
        done = run(root, *arguments)
        assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1
    (root / "empty").mkdir()
    done = run(root, "--out", root / "new.csv", root / "empty")
    assert done.returncode == 1 and "holds no file" in done.stderr and not (root / "new.csv").exists()


def test_a_table_inside_the_folder_is_no_image(root: Path, radiographs: Path) -> None:
    for _ in range(2):
        assert run(root, "--out", radiographs / "out.csv", radiographs).returncode == 0
    assert "out.csv" not in {row["file"] for row in read_table(radiographs / "out.csv")}


def test_a_killed_run_goes_on_and_ends_with_the_same_table(root: Path, radiographs: Path) -> None:
    for number in range(400):
        (radiographs / f"{number:03}.png").write_bytes(encoded(np.full((900, 900), number % 250, np.uint8), "PNG"))
    (root / "out.csv").write_text("an earlier table\n")
    words, environment = command(root, "--out", "out.csv", radiographs)
    running = subprocess.Popen(words, env=environment, cwd=root, stderr=subprocess.DEVNULL)
    journals = root / ".cache" / "answers"
    limit = time.monotonic() + 120
    while not any(path.read_text().count("\n") > 40 for path in journals.glob("*")):
        assert time.monotonic() < limit and running.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert (root / "out.csv").read_text() == "an earlier table\n"
    (journal,) = journals.iterdir()
    journal.write_text(journal.read_text()[:-7])  # a line that the kill cut
    done = run(root, "--out", root / "out.csv", radiographs)
    assert done.returncode == 0 and "going on: " in done.stderr
    went_on = (root / "out.csv").read_bytes()
    assert not list(journals.iterdir())
    assert run(root, "--out", root / "out.csv", radiographs).returncode == 0
    assert (root / "out.csv").read_bytes() == went_on


def test_make_hands_names_with_spaces_and_signs_on_as_they_are(root: Path, radiographs: Path) -> None:
    if not (CHECKOUT / "Makefile").exists() or shutil.which("make") is None:
        pytest.skip("no make: the targets were NOT tried")
    odd = root / 'it\'s "my" radiographs'
    shutil.copytree(radiographs, odd)
    (root / "labels.csv").write_text("file,label,patient\nbright.png,PNEUMONIA,1\ndark.jpeg,NORMAL,2\n")
    make = ["make", "-C", str(CHECKOUT), f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.ready"]
    environment = {**os.environ, "PIPELINE_ROOT": str(root)}
    for arguments in (
        ["predict", f"SOURCE={odd}", f"OUT={root}/the answers.csv"],
        ["evaluate-site", f"SOURCE={odd}", f"LABELS={root}/labels.csv"],
        ["evaluate-site", f"SOURCE={odd}", f"LABELS={root}/labels.csv", "NAME=kept"],
    ):
        done = subprocess.run([*make, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert len(read_table(root / "the answers.csv")) == 5
    assert (root / "reports" / "site" / "it-s-my-radiographs.json").exists() and (
        root / "metrics" / "site" / "kept.json"
    ).exists()
