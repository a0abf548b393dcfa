"""One GPU for each training: TensorFlow takes all that it sees, so that two on one machine must see different ones."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.errors import ProjectError

VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def one() -> Iterator[None]:
    """Hold one free GPU of this machine for as long as the block runs, the only one that its processes see.

    The kernel frees it when its holder dies. Where there is no GPU nothing is held; where CUDA_VISIBLE_DEVICES is set,
    only those that it names are looked at.

    Raises:
        ProjectError: all are in use.
    """
    names = found()
    if not names:
        yield
        return
    before = os.environ.get(VISIBLE)
    with ExitStack() as held:
        os.environ[VISIBLE] = _take(names, held)
        try:
            yield
        finally:
            if before is None:
                del os.environ[VISIBLE]
            else:
                os.environ[VISIBLE] = before


def found() -> list[str]:
    """The GPUs that a training may use: by CUDA_VISIBLE_DEVICES, or all that nvidia-smi lists, by number."""
    if VISIBLE in os.environ:
        return [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip() not in ("", "-1")]
    if not (tool := shutil.which("nvidia-smi")):
        return []
    listed = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, check=False)
    lines = listed.stdout.splitlines() if listed.returncode == 0 else []
    return [str(number) for number, line in enumerate(line for line in lines if line.startswith("GPU "))]


def _take(names: list[str], held: ExitStack) -> str:
    for name in names:
        lock = (Path(tempfile.gettempdir()) / f"chest-xray-gpu-{name.replace('/', '-')}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        held.enter_context(lock)
        return name
    raise ProjectError(
        f"other trainings use all GPUs ({', '.join(names)}): give the pool `training` as many slots as there are GPUs"
    )
