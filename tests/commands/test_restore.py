"""`make restore` in a repository of three files: what a failed stage took comes back, and no work is lost."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml

from pipeline import dvc, paths
from pipeline.commands import restore
from tests.retraining_fixture import git

STAGE = {
    "cmd": "mkdir -p models predictions/one && echo model > models/one && echo good > predictions/one/run.json",
    "outs": ["models/one", {"predictions/one/run.json": {"cache": False}}],
}


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A stage that ran, and all its results in git or in DVC's cache."""
    root = tmp_path_factory.mktemp("committed")
    git(root, "init", "-q")
    subprocess.run(dvc.command("init", "-q"), cwd=root, check=True)
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": STAGE}}))
    subprocess.run(dvc.command("repro", "-q"), cwd=root, env=dvc.environment(), check=True)
    for name in ("metrics/study.json", "plots/roc.svg", "docs/model-card.md", "docs/data-card.md"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("good\n")
    git(root, "add", "-A")
    git(root, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "good")
    return root


@pytest.fixture
def repository(committed, tmp_path):
    """As a failed stage leaves it: DVC deleted its outputs."""
    root = shutil.copytree(committed, tmp_path / "repository")
    for name in ("models/one", "predictions/one/run.json", "docs/model-card.md"):
        (root / name).unlink()
    return root


def call(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "pipeline.commands.restore", *arguments],
        cwd=paths.ROOT, env={**os.environ, "PIPELINE_ROOT": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_what_a_failed_stage_took_comes_back(repository):
    done = call(repository)
    assert done.returncode == 0, done.stderr
    assert (repository / "models" / "one").read_text() == "model\n"
    assert git(repository, "status", "--porcelain") == ""


CHANGED = ("docs/data-card.md", "dvc.lock", "metrics/study.json", "predictions/two/run.json")


def write_others(repository, name):
    (repository / name).parent.mkdir(exist_ok=True)
    (repository / name).write_text("schema: '2.0'\nstages: {}\n")


@pytest.mark.parametrize("name", CHANGED)
def test_results_that_are_not_committed_stop_it(repository, name):
    write_others(repository, name)
    done = call(repository)
    assert done.returncode == 1
    assert done.stderr == (
        f"restore: results that are not committed would be lost: {name}; commit them, or make restore FORCE=1\n"
    )
    assert not (repository / "docs" / "model-card.md").exists()


def test_force_gives_them_up(repository):
    for name in CHANGED:
        write_others(repository, name)
    said = call(repository).stderr
    assert "docs/data-card.md, dvc.lock, metrics/study.json and 1 more; commit" in said
    done = call(repository, "--force")
    assert done.returncode == 0, done.stderr
    assert (repository / "models" / "one").read_text() == "model\n", "by the dvc.lock of the last commit"
    assert git(repository, "diff", "HEAD") == ""


def test_a_checkout_that_fails_is_no_success(repository):
    (repository / ".dvc" / "config").write_text("[core\n")
    done = call(repository)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("restore: dvc checkout failed")


def test_what_restore_brings_back_is_in_git():
    assert all(git(paths.ROOT, "ls-files", "--", name) for name in restore.RESULTS)
