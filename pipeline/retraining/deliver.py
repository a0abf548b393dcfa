"""Carry the results of a retraining out of its workspace where asked to: to a git branch, or into the checkout."""

import logging
import os
import shutil
import sys
from pathlib import Path

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.files import exchange, put_on_disk
from pipeline.retraining import request as requests
from pipeline.retraining.detect_new_data import NOTHING_TO_DO
from pipeline.retraining.incumbent import promoted
from pipeline.retraining.subprocesses import check, end_with_parent, output
from pipeline.retraining.workspaces import workspace_of

log = logging.getLogger("deliver")

# What a reviewer reads. Images of patients lie in none of these.
COMMITTED = ("params.yaml", "dvc.lock", "metrics", "predictions", "plots", "models", "docs")
BEFORE = paths.CANDIDATE.with_name("candidate-before.tmp")  # the candidate that the checkout had


def main() -> None:
    """Do what the run's `deliver` says."""
    end_with_parent()
    request = requests.from_environment()
    folder = workspace_of(request)
    if request.deliver == "branch":
        commit(folder, request)
    elif request.deliver == "checkout" and promoted(folder):
        install(folder)
    else:
        clear(folder)
        log.info("nothing to do: the results stay in %s", folder)
        sys.exit(NOTHING_TO_DO)


def commit(folder: Path, request: requests.Request) -> None:
    """Commit lock, metrics, predictions, plots and the promotion to the branch `retrain/...`; twice is once.

    Raises:
        ProjectError: git refuses, as where a reviewer has the branch checked out or put commits of their own on it.
    """
    branch = request.workspace.replace("retrain-", "retrain/", 1)
    git(folder, "add", "--", *(name for name in COMMITTED if (folder / name).exists()))
    if git(folder, "status", "--porcelain", "--untracked-files=no").strip():
        champion = promoted(folder)
        outcome = f"Champion: {champion}" if champion else "The champion stays."
        identity = ["-c", "user.name=retraining", "-c", "user.email=retraining@localhost"]
        git(folder, *identity, "commit", "--quiet", "--no-verify", "-m", f"Retrain ({request.run_id})\n\n{outcome}")
    elif git(folder, "branch", "--list", branch):
        log.info("nothing new to commit on %s", branch)
        return
    # The workspace itself stays on no branch, so that a reviewer can switch to it. A fetch only ever moves it forward.
    git(folder, "fetch", "--quiet", ".", f"HEAD:refs/heads/{branch}")
    log.info("committed to the branch %s: review it, push it, merge it", branch)


def install(folder: Path) -> None:
    """Make the workspace's candidate the checkout's, and promote it there: the service picks it up within a second.

    A refused one leaves the checkout with the candidate that it had. Killed at any moment, the checkout has the one or the
    other, whole: they change places in one step. The other waits under `BEFORE` until the gate has spoken.

    Raises:
        ProjectError: the gate of the checkout refuses it.
    """
    candidate, had_one = folder / paths.CANDIDATE.relative_to(paths.ROOT), paths.CANDIDATE.exists()
    if not _same(candidate, paths.CANDIDATE):  # else a try that was killed has come further
        shutil.rmtree(BEFORE, ignore_errors=True)
        shutil.copytree(candidate, BEFORE)
        put_on_disk(BEFORE)
        exchange(BEFORE, paths.CANDIDATE) if paths.CANDIDATE.exists() else os.replace(BEFORE, paths.CANDIDATE)
    try:
        check([sys.executable, "-m", "pipeline.registry.champion", "promote"], paths.ROOT, "promote")
    except (ProjectError, OSError):
        if BEFORE.exists():
            exchange(BEFORE, paths.CANDIDATE)
            shutil.rmtree(BEFORE)
        elif not had_one:
            shutil.rmtree(paths.CANDIDATE, ignore_errors=True)
        raise
    shutil.rmtree(BEFORE, ignore_errors=True)


def clear(folder: Path) -> None:
    """Remove what a delivery that was killed at its very end left beside the candidate."""
    if _same(folder / paths.CANDIDATE.relative_to(paths.ROOT), paths.CANDIDATE):
        shutil.rmtree(BEFORE, ignore_errors=True)


def _same(first: Path, second: Path) -> bool:
    """Whether two candidates are the same, by their contracts."""
    files = [folder / "contract.json" for folder in (first, second)]
    return all(file.is_file() for file in files) and files[0].read_bytes() == files[1].read_bytes()


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    return output(["git", *arguments], folder, f"git {arguments[0]}")
