"""Starting the pipeline's commands from a task: in its environment, with their output shown, and never left behind."""

import ctypes
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

from pipeline import dvc
from pipeline.errors import ProjectError

FULL = 1_000_000  # bytes; less is no room to work
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends, so that a killed worker leaves no training behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def tool(name: str) -> str:
    """A command of the environment that runs this one."""
    return str(Path(sys.executable).parent / name)


def call(command: list[str], folder: Path) -> int:
    """Run a command in `folder`, its output passed on line by line; return its exit status."""
    return _stream(command, folder)[0]


def check(command: list[str], folder: Path, what: str, **environ: str) -> None:
    """Run a command that must succeed, with these variables besides the task's own.

    Raises:
        ProjectError: it failed; the message is `what` and the line in which the command said why.
    """
    status, lines = _stream(command, folder, **environ)
    if status != 0:
        raise ProjectError(f"{what}: {cause(lines) or f'exit status {status}'}{shortage(folder)}")


def output(command: list[str], folder: Path, what: str) -> str:
    """What a short command prints.

    Raises:
        ProjectError: it failed.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = cause(done.stderr.splitlines()) or f"exit status {done.returncode}"
        raise ProjectError(f"{what}: {said}{shortage(folder)}")
    return done.stdout


def cause(lines: list[str]) -> str:
    """The line that says why: a stage's own last word ("train: ..."), or the last error of DVC."""
    named = [line for line in lines if re.match(r"[a-z-]+: \S", line)]
    dvc = [line for line in lines if line.startswith("ERROR: ")]
    return (named or dvc or [line for line in lines if line.strip()] or [""])[-1].strip()


def shortage(folder: Path) -> str:
    """What a message of failure ends with when the disk is full: git and DVC then speak of something else."""
    free = shutil.disk_usage(folder).free
    return f"; the disk is full: {free // 1000} kB are left in {folder}" if free < FULL else ""


def _stream(command: list[str], folder: Path, **environ: str) -> tuple[int, list[str]]:
    variables = dvc.environment(**environ)
    variables.pop("PIPELINE_ROOT", None)  # a command belongs to the folder that it is started in
    tail: deque[str] = deque(maxlen=60)
    with subprocess.Popen(
        command, cwd=folder, env=variables, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=end_with_parent,  # noqa: PLW1509 - this process has one thread
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            tail.append(line.rstrip("\n"))
    return process.returncode, list(tail)
