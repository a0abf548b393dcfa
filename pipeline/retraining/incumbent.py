"""The champion that a candidate must beat: the one that serves, in the checkout's models/, committed or not."""

import shutil
from pathlib import Path

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.registry import contract, record, verification


def expect_whole() -> None:
    """Find damage before hours of training, not after.

    Raises:
        ProjectError: files of the champion are missing or are not those that were packaged.
    """
    version = record.champion()
    problem = verification.problem(version) if version else None
    if problem:
        raise ProjectError(
            f"the champion is damaged ({problem}): `git checkout -- models/champions/{version}` brings it back"
        )


def take(folder: Path) -> None:
    """Copy the checkout's champion, and those before it, into the workspace `folder`.

    Left alone when the workspace has promoted its own candidate already: then the gate has been passed.

    Raises:
        ProjectError: the champion is damaged.
    """
    expect_whole()
    if promoted(folder):
        return
    for source in (paths.CHAMPIONS, paths.PROMOTIONS, paths.CHAMPION):
        target = folder / source.relative_to(paths.ROOT)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copyfile(source, target)


def promoted(folder: Path) -> str | None:
    """The version that this retraining made champion of its workspace; None when it promoted none."""
    pointer, candidate = (folder / path.relative_to(paths.ROOT) for path in (paths.CHAMPION, paths.CANDIDATE))
    version = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else None
    if version is None or version == record.champion() or not candidate.is_dir():
        return None
    return version if contract.read(candidate)["version"] == version else None
