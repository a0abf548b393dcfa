"""A git repository of this project's own files, as the checkout has them, without networks and data: a bare clone."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline import paths
from pipeline.commands.carry_lock import carry
from tests.retraining_fixture import git

NOT_NEEDED = ("docs/", "models/", "plots/", "tests/")
RUNS = ("custom_cnn-raw-0", "custom_cnn-raw-1", "custom_cnn-robust-0")  # of the whole study, to be quick


@pytest.fixture(scope="session")
def bare_clone(tmp_path_factory):
    """The repository, one commit, its dvc.lock up to date; copy it before changing anything."""
    root = tmp_path_factory.mktemp("bare") / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=paths.ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = paths.ROOT / name, root / name
        if not name.startswith(NOT_NEEDED) and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    keep_few_runs(root)
    git(root, "init", "-q")
    carry(["train"], root)
    commit(root, "base")
    return root


def keep_few_runs(root: Path) -> None:
    """Leave `RUNS` alone in params.yaml and dvc.lock."""
    params, lock = (yaml.safe_load((root / name).read_text()) for name in ("params.yaml", "dvc.lock"))
    params["train"]["runs"] = {name: params["train"]["runs"][name] for name in RUNS}
    kept = {name: stage for name, stage in lock["stages"].items() if "@" not in name or name.split("@")[1] in RUNS}
    for name, content in (("params.yaml", params), ("dvc.lock", lock | {"stages": kept})):
        (root / name).write_text(yaml.safe_dump(content, sort_keys=False))


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
