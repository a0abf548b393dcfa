"""`make setup` and `make study` with DEVICE=cuda: an environment of its own that no other target replaces."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline import paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The Makefile beside both lists of packages; the environment for GPUs is there."""
    shutil.copy(paths.ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements").mkdir()
    for name in ("dev.txt", "cuda.txt"):
        (tmp_path / "requirements" / name).touch()
    (tmp_path / ".venv-cuda").mkdir()
    (tmp_path / ".venv-cuda" / ".ready").touch()
    return tmp_path


def would_do(folder: Path, *words: str) -> str:
    """The commands that make would run."""
    done = subprocess.run(["make", "-n", *words], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_the_environment_for_gpus_is_installed_from_its_own_list(folder: Path) -> None:
    (folder / ".venv-cuda" / ".ready").unlink()
    said = would_do(folder, "setup", "DEVICE=cuda")
    assert "uv pip sync --quiet --python .venv-cuda/bin/python --require-hashes requirements/cuda.txt" in said
    assert "dev.txt" not in said


def test_the_study_uses_it_and_installs_nothing_when_it_is_there(folder: Path) -> None:
    said = would_do(folder, "study", "DEVICE=cuda", "JOBS=2")
    assert ".venv-cuda/bin/python -m pipeline.commands.study --jobs" in said
    assert "requirements/" not in said


def test_what_is_made_without_it_leaves_it_alone(folder: Path) -> None:
    said = would_do(folder, "study")
    assert "uv pip sync --quiet --python .venv/bin/python --require-hashes requirements/dev.txt" in said
    assert "cuda" not in said


def test_another_word_is_refused_before_anything_is_done(folder: Path) -> None:
    assert "DEVICE is cpu or cuda, not 'gpu'" in would_do(folder, "study", "DEVICE=gpu")
