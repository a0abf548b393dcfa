"""What `make` hands on: as it was given, whatever it holds, and never as the text of a shell."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline import paths

STUB = '#!/bin/sh\nfor word in "$@"; do printf "<%s>\\n" "$word"; done\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The Makefile, whose environments are there and hold a script that prints what it is given."""
    shutil.copy(paths.ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements").mkdir()
    for name, environment in (("dev", ".venv"), ("airflow", ".venv-airflow"), ("serve", ".venv-serve")):
        (tmp_path / "requirements" / f"{name}.txt").touch()
        (tmp_path / environment / "bin").mkdir(parents=True)
        (tmp_path / environment / ".ready").touch()
    for script in (tmp_path / ".venv" / "bin" / "python", tmp_path / "scripts" / "airflow.sh"):
        script.parent.mkdir(exist_ok=True)
        script.write_text(STUB)
        script.chmod(0o755)
    return tmp_path


def given(folder: Path, *words: str) -> list[str]:
    """What the command that `make` runs was given."""
    done = subprocess.run(["make", "-s", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line[1:-1] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (("study", "RUNS=a b; touch x", "JOBS=2; touch x"), ["--jobs", "2; touch x", "a", "b;", "touch", "x"]),
        (("study", "RUNS=*"), ["--jobs", "1", "*"]),
        (("retrain", 'PARAMS={"a": "it\'s; touch x"}'), ["retrain", '{"a": "it\'s; touch x"}']),
        (
            ("evaluate-site", "SOURCE=a b", "LABELS=c;touch x", 'NAME="; touch x'),
            ["--name", '"; touch x', "--", "a b", "c;touch x"],
        ),
        (
            ("site-profile", "SOURCE=a b", "LABELS=c;touch x", 'NAME="; touch x', "SENSITIVITY=.9; touch x"),
            ["--name", '"; touch x', "--sensitivity", ".9; touch x", "--", "a b", "c;touch x"],
        ),
        (("site-profile", "SOURCE=a", "LABELS=", "NAME="), ["--name", "", "--", "a", ""]),
        (("metrics-gate", "BASE=main; touch x"), ["main; touch x"]),
        (("metrics-gate",), ["main"]),
        (("merge-runs", "TAKE=ours; touch x"), ["--take", "ours; touch x"]),
    ],
)  # fmt: skip
def test_what_a_caller_hands_over_is_handed_on_as_it_is(folder: Path, words: tuple[str, ...], last: list[str]) -> None:
    assert given(folder, *words)[-len(last) :] == last
    assert not (folder / "x").exists()


@pytest.mark.parametrize(
    ("python", "says"),
    [
        ("import sys; sys.version_info = (3, 14)", "Python 3.11, 3.12 or 3.13 is needed"),
        ("import sys; sys.modules['ensurepip'] = None", "no venv module: apt-get install python3-venv"),
    ],
)
def test_a_python_that_is_of_no_use_is_told_from_one_without_venv(folder: Path, python: str, says: str) -> None:
    shutil.rmtree(folder / ".venv")
    (folder / "sitecustomize.py").write_text(python)
    done = subprocess.run(
        ["make", "setup", f"PYTHON=env PYTHONPATH={folder} python3"], cwd=folder, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 2 and says in done.stdout
    assert not (folder / ".venv").exists()
