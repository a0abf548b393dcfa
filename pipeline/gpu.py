"""One GPU for each training: TensorFlow takes all that it sees, so that two on one machine must see different ones."""

import fcntl
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pipeline.errors import ProjectError

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
COUNT = "import keras; print(len(keras.distribution.list_devices('gpu')))"  # in a process of its own: it takes the GPU


@contextmanager
def one() -> Iterator[dict[str, str]]:
    """Hold one free GPU of this machine for as long as the block runs.

    Yields the variable that makes it the only one that a process sees. The kernel frees the GPU when its holder dies.
    Where there is none, nothing is held and no variable is needed; where CUDA_VISIBLE_DEVICES is set, only those that it
    names are looked at.

    Raises:
        ProjectError: all are in use.
    """
    names = found()
    for name in names:
        with _lock_file(Path(tempfile.gettempdir()) / f"chest-xray-gpu-{name.replace('/', '-')}.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield {VISIBLE: name}
            return
    if names:
        raise ProjectError(
            f"other trainings use all GPUs ({', '.join(names)}): give JOBS, or the pool `training`, at most as many as "
            "there are GPUs"
        )
    yield {}


def _lock_file(path: Path) -> IO[bytes]:
    """The file, made if it is not there; another user's is only read, which is enough to lock it."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o644))
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def found() -> list[str]:
    """The GPUs that a training may use: by CUDA_VISIBLE_DEVICES, or all that nvidia-smi lists, by number."""
    if VISIBLE in os.environ:
        return [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip() not in ("", "-1")]
    if not (tool := shutil.which("nvidia-smi")):
        return []
    listed = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, check=False)
    lines = listed.stdout.splitlines() if listed.returncode == 0 else []
    return [str(number) for number, line in enumerate(line for line in lines if line.startswith("GPU "))]


def warn_of_unseen() -> None:
    """Say so where this machine has GPUs and Keras sees none: it then trains on the CPU, without a word."""
    if not (names := found()):
        return
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=False)
    if done.returncode != 0 or done.stdout.split()[-1:] == ["0"]:
        log.warning(
            "GPUs are here (%s), and Keras sees none: trainings run on the CPU. `make study DEVICE=cuda` installs what they "
            "need; %s=-1 says that the CPU is meant",
            ", ".join(names),
            VISIBLE,
        )
