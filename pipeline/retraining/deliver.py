"""Carry the results of a retraining out of its workspace where asked to: to a git branch, or into the checkout."""

import logging
import os
import shutil
import sys
from pathlib import Path

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.files import atomic_folder
from pipeline.retraining import request as requests
from pipeline.retraining.detect_new_data import NOTHING_TO_DO
from pipeline.retraining.incumbent import promoted
from pipeline.retraining.subprocesses import check, end_with_parent, output
from pipeline.retraining.workspaces import workspace_of

log = logging.getLogger("deliver")

# What a reviewer reads. Pictures of patients lie in none of these.
COMMITTED = ("params.yaml", "dvc.lock", "metrics", "predictions", "plots", "models", "docs")


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

    A refused one leaves the checkout with the candidate that it had.

    Raises:
        ProjectError: the gate of the checkout refuses it.
    """
    before = paths.CANDIDATE.with_name("candidate-before.tmp")
    if paths.CANDIDATE.exists() and not before.exists():  # else a try that was killed has put it aside already
        os.replace(paths.CANDIDATE, before)
    try:
        with atomic_folder(paths.CANDIDATE) as candidate:
            shutil.copytree(folder / paths.CANDIDATE.relative_to(paths.ROOT), candidate, dirs_exist_ok=True)
        check([sys.executable, "-m", "pipeline.registry.champion", "promote"], paths.ROOT, "promote")
    except (ProjectError, OSError):
        shutil.rmtree(paths.CANDIDATE, ignore_errors=True)
        if before.exists():
            os.replace(before, paths.CANDIDATE)
        raise
    shutil.rmtree(before, ignore_errors=True)


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    return output(["git", *arguments], folder, f"git {arguments[0]}")
