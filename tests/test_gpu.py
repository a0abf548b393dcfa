"""One GPU for each training. Which there are is told here: the locks are real, no GPU is needed."""

import os
import subprocess
import sys
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


def test_a_lock_file_of_another_user_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may write it, root included: it is a file of a read-only kind."""
    monkeypatch.setenv(gpu.VISIBLE, "0")
    lock = tmp_path / "chest-xray-gpu-0.lock"
    lock.touch(mode=0o444)
    code = f"import os, tempfile; from pipeline import gpu; tempfile.tempdir = {str(tmp_path)!r}\n"
    code += "os.getuid() or os.setuid(65534)\n"
    code += "with gpu.one() as visible: print(visible)"
    for folder in (tmp_path, *tmp_path.parents):  # pytest keeps them to their owner
        if folder.name.startswith(("test_", "popen-", "pytest-")):
            folder.chmod(0o755)
    environ = {**os.environ, "PYTHONPATH": str(Path(gpu.__file__).parents[1])}
    with gpu.one():
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
        assert "other trainings use all GPUs" in done.stderr
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.stdout == "{'CUDA_VISIBLE_DEVICES': '0'}\n", done.stderr


@pytest.mark.parametrize("none", ["", "-1"])
def test_without_a_gpu_nothing_is_held(none: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.VISIBLE, none)
    with gpu.one() as visible:
        assert visible == {}
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two GPUs, by what its nvidia-smi says."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA T4 (UUID: GPU-1)'\necho 'GPU 1: NVIDIA T4 (UUID: GPU-2)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(gpu.VISIBLE, raising=False)
    return tool


def test_a_gpu_that_keras_does_not_see_is_warned_of(nvidia_smi: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The tests' TensorFlow is the one for CPUs."""
    gpu.warn_of_unseen()
    (said,) = caplog.messages
    assert said.startswith("GPUs are here (0, 1), and Keras sees none: trainings run on the CPU")
    assert "DEVICE=cuda" in said


def test_nothing_is_said_where_there_is_no_gpu_or_the_cpu_is_meant(
    nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gpu, "COUNT", "raise SystemExit(1)")  # Keras is not asked
    monkeypatch.setenv(gpu.VISIBLE, "-1")
    gpu.warn_of_unseen()
    monkeypatch.delenv(gpu.VISIBLE)
    nvidia_smi.unlink()
    gpu.warn_of_unseen()
    assert caplog.messages == []


def test_nothing_is_said_where_keras_sees_one(
    nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gpu, "COUNT", "print('a word of TensorFlow'); print(1)")
    gpu.warn_of_unseen()
    assert caplog.messages == []
