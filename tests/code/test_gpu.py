"""One GPU for each training. Which there are is told here: the locks are real, no GPU is needed."""

import tempfile
from pathlib import Path

import pytest

from pipeline import gpu
from pipeline.errors import ProjectError


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of these tests alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_each_training_sees_one_and_no_two_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.VISIBLE, "0, GPU-5f3e")
    with gpu.one() as first:
        assert first == {gpu.VISIBLE: "0"}
        with gpu.one() as second:
            assert second == {gpu.VISIBLE: "GPU-5f3e"}
            with pytest.raises(ProjectError, match="other trainings use all GPUs"), gpu.one():
                pass
        with gpu.one() as again:
            assert again == second, "it is free again"


def test_a_training_that_fails_frees_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.VISIBLE, "2,3")
    with pytest.raises(ProjectError, match="of the training"), gpu.one():
        raise ProjectError("of the training")
    with gpu.one() as visible:
        assert visible == {gpu.VISIBLE: "2"}


@pytest.mark.parametrize("none", ["", "-1"])
def test_without_a_gpu_nothing_is_held(none: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.VISIBLE, none)
    with gpu.one() as visible:
        assert visible == {}
    assert list(tmp_path.iterdir()) == []
