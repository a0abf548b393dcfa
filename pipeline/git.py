"""What git says of the checkout."""

import subprocess
from pathlib import Path

from pipeline import paths
from pipeline.errors import ProjectError


def output(*arguments: str, folder: Path | None = None) -> str:
    """What a git command prints.

    Raises:
        ProjectError: it failed; the message has git's own reason.
    """
    return output_bytes(*arguments, folder=folder).decode()


def output_bytes(*arguments: str, folder: Path | None = None) -> bytes:
    """What a git command prints, of a file that may be no text; raises as `output`."""
    done = subprocess.run(["git", *arguments], cwd=folder or paths.ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["failed"]
        said = next((line for line in lines if line.startswith("error: ")), lines[-1])  # the cause, not its effect
        raise ProjectError(f"git {arguments[0]}: {said}")
    return done.stdout
