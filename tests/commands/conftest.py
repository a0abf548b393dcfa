"""A git repository of this project's own files, as the checkout has them, without networks and data: a bare clone."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline import paths
from tests.retraining_fixture import git

NOT_NEEDED = ("models/", "docs/", "tests/", "benchmarks/", "plots/")


@pytest.fixture(scope="session")
def bare_clone(tmp_path_factory):
    """The repository, one commit; copy it before changing anything."""
    root = tmp_path_factory.mktemp("bare") / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=paths.ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = paths.ROOT / name, root / name
        if not name.startswith(NOT_NEEDED) and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    git(root, "init", "-q")
    commit(root, "base")
    return root


@pytest.fixture
def clone(bare_clone, tmp_path):
    """One to change."""
    return shutil.copytree(bare_clone, tmp_path / "clone")


def commit(root: Path, subject: str) -> str:
    """Commit all that is there; returns the commit."""
    git(root, "add", "-A")
    git(root, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", subject)
    return git(root, "rev-parse", "HEAD").strip()


def replace(file: Path, old: str, new: str) -> None:
    """Change a file's text; what is changed must be there once."""
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name} has {old!r} {text.count(old)} times"
    file.write_text(text.replace(old, new))
