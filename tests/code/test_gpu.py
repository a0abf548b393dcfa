"""One GPU for each training. Which there are is told here: the locks are real, no GPU is needed."""

import os
import tempfile
from pathlib import Path

import pytest

from pipeline.errors import ProjectError
from pipeline.retraining import gpu


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of these tests alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_each_training_sees_one_and_no_two_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.VISIBLE, "0, GPU-5f3e")
    with gpu.one():
        assert os.environ[gpu.VISIBLE] == "0"
        monkeypatch.setenv(gpu.VISIBLE, "0,GPU-5f3e")  # as another process would find it
        with gpu.one():
            assert os.environ[gpu.VISIBLE] == "GPU-5f3e"
            monkeypatch.setenv(gpu.VISIBLE, "0,GPU-5f3e")
            with pytest.raises(ProjectError, match="other trainings use all GPUs"), gpu.one():
                pass
        with gpu.one():  # the second one is free again
            assert os.environ[gpu.VISIBLE] == "GPU-5f3e"


def test_what_was_visible_before_is_visible_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.VISIBLE, "2,3")
    with gpu.one():
        assert os.environ[gpu.VISIBLE] == "2"
    assert os.environ[gpu.VISIBLE] == "2,3"


@pytest.mark.parametrize("none", ["", "-1"])
def test_without_a_gpu_nothing_is_held(none: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.VISIBLE, none)
    with gpu.one():
        assert os.environ[gpu.VISIBLE] == none
    assert list(tmp_path.iterdir()) == []
