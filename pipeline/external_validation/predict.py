"""The champion on images without labels: one table with a line for every file.

    python -m pipeline.external_validation.predict --out OUT SOURCE...

SOURCE is a folder, nested as it is, a zip archive, or a file: JPEG, PNG, TIFF or DICOM under any name. OUT is a CSV: file,
status, reason, score, outcome. A run that was killed goes on where it was. Nothing leaves the machine.
"""

import argparse
import glob
import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pipeline import outcomes, settings
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.external_validation import answers, images
from pipeline.serving import model, profile


def main() -> None:
    """Answer every file, write the table, and say how many could be read.

    Raises:
        ProjectError: SOURCE holds no file, OUT cannot be written, or not one file could be read.
    """
    parser = argparse.ArgumentParser(prog="predict", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", nargs="+", help="a folder, a zip archive or files")
    parser.add_argument("--out", required=True, help="the table to write (CSV)")
    chosen = parser.parse_args()
    if not chosen.out or not any(chosen.source):
        raise ProjectError("give SOURCE (a folder, a zip archive or files) and OUT (a CSV)")
    target = Path(chosen.out).absolute()
    _expect_writable(target)
    serve = settings.load().serve
    files = images.find(_named(chosen.source), besides=target)
    site_profile = profile.read(serve.profile) if serve.profile else None
    champion = model.load(model.champion_version(), serve.threads, site_profile)
    answered = answers.answer_all(champion, files, serve, target)
    answers.write(target, files, answered)
    answers.forget(champion, serve, target)
    status, outcome = (Counter(getattr(answer, name) for answer in answered) for name in ("status", "outcome"))
    told = ", ".join(f"{outcome[name]} {name}" for name in get_args(outcomes.Outcome))
    print(
        f"{len(files)} files: {status['answered']} answered ({told}), "
        f"{status['rejected']} rejected by the input check, {status['unreadable']} not readable"
    )
    if status["unreadable"] == len(files):
        raise ProjectError(f"none of the {len(files)} files could be read as an image: {target} says why")
    print(f"written to {target}; research software, not a medical device")


def _named(words: Sequence[str]) -> list[Path]:
    """The paths that are meant: each word as it is, or, where there is none, the words and patterns in it."""
    named: list[str] = []
    for word in map(os.path.expanduser, words):
        for part in [word] if os.path.lexists(word) else _split(word):
            matches = [part] if os.path.lexists(part) else glob.glob(part, recursive=True)  # noqa: PTH207 - absolute ones too
            named += sorted(matches) or [part]
    return [Path(name) for name in named]


def _split(word: str) -> list[str]:
    try:
        return shlex.split(word)
    except ValueError:  # an apostrophe, as in a name
        return [word]


def _expect_writable(target: Path) -> None:
    if target.is_dir():
        raise ProjectError(f"OUT: {target} is a folder; name a file")
    if not os.access(target.parent, os.W_OK):
        raise ProjectError(f"OUT: {target.parent} is no folder that can be written to")


if __name__ == "__main__":
    run("predict", main)
