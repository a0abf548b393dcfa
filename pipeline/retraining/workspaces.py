"""The workspace of a retraining: made once, found again by every task, on whatever machine the task runs."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipeline import paths, workspaces
from pipeline.errors import ProjectError
from pipeline.files import read_json, write_json, write_text
from pipeline.retraining import remote
from pipeline.retraining.clear_stale_locks import mend
from pipeline.retraining.request import Request, lay_over
from pipeline.retraining.subprocesses import check, output, shortage
from pipeline.schema import read_yaml

KEPT = 3  # workspaces that stay: so many of finished retrainings, and as many others
_NOTES = ".retraining"  # written last, so that a workspace half made is made again


def workspace_of(request: Request) -> Path:
    """The folder of a run's workspace, made if this machine has none yet: the commit, the overlay, the remote.

    Raises:
        ProjectError: the parameters name something unknown, the commit is not in this checkout, or the remote is none.
    """
    folder = paths.WORKSPACES / request.workspace
    with _alone(request.workspace):
        if not (folder / _NOTES).exists():
            try:
                _make(folder, request)
            except (ProjectError, OSError):
                workspaces.remove(folder.name)
                raise
        _follow_remote(folder)
        os.utime(folder / _NOTES)  # used now: `remove_old` goes by this
    mend(folder)
    return folder


def runs_of(folder: Path) -> list[str]:
    """The names in a workspace's table of runs."""
    return list(yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["train"]["runs"])


def commit_of(folder: Path) -> str:
    """The commit that a workspace was made at; the checkout may have moved on."""
    return str(_notes(folder)["commit"])


def was_whole(folder: Path) -> bool:
    """Whether the retraining used params.yaml as it was committed: all runs, no other settings."""
    return bool(_notes(folder)["whole"])


def note_finished(folder: Path) -> None:
    """Remember that a retraining came to its end."""
    write_json(folder / _NOTES, _notes(folder) | {"finished": True})


def remove_old() -> None:
    """Remove all workspaces but the last few that finished and the last few that did not, on a worker as on the head.

    One in which a stage runs stays, however long ago that began.
    """
    by_use = sorted(paths.WORKSPACES.glob("retrain-*/"), key=_last_use)
    finished = [folder for folder in by_use if (folder / _NOTES).exists() and _notes(folder)["finished"]]
    others = [folder for folder in by_use if folder not in finished]
    for folder in finished[:-KEPT] + others[:-KEPT]:
        if not mend(folder):
            workspaces.remove(folder.name)


def _make(folder: Path, request: Request) -> None:
    remove_old()
    try:
        workspaces.create(folder.name, commit=request.commit or "HEAD")
    except ProjectError as error:
        raise ProjectError(f"{error}{shortage(paths.WORKSPACES)}") from None
    commit = output(["git", "rev-parse", "HEAD"], folder, "git").strip()
    _lay_over(folder, request)
    notes = {"run": request.run_id, "commit": commit, "whole": not request.changes_settings, "finished": False}
    write_json(folder / _NOTES, notes)


def _lay_over(folder: Path, request: Request) -> None:
    committed = read_yaml(folder / "params.yaml")
    params = lay_over(committed, request)
    if params != committed:  # else the file stays as people wrote it, with their comments
        write_text(folder / "params.yaml", yaml.safe_dump(params, sort_keys=False, width=120))
    # By the workspace's own code: the checkout's may have moved on, or be half edited.
    read = "from pipeline import settings; from pipeline.command import run; run('params', settings.load)"
    check([sys.executable, "-c", read], folder, "the run's parameters")
    # What other data taught other runs must not stand beside what this run will find.
    for run in (folder / "predictions").glob("*"):
        if run.is_dir() and run.name not in params["train"]["runs"]:
            shutil.rmtree(run)


def _follow_remote(folder: Path) -> None:
    """The remote is the environment's, also when that was corrected after the workspace was made."""
    address, notes = os.environ.get(remote.REMOTE), _notes(folder)
    if address and address != notes.get("remote"):
        remote.set_remote(folder)
        write_json(folder / _NOTES, notes | {"remote": address})


def _notes(folder: Path) -> dict[str, Any]:
    return read_json(folder / _NOTES)


def _last_use(folder: Path) -> float:
    notes = folder / _NOTES
    return (notes if notes.exists() else folder).stat().st_mtime


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One task at a time makes the workspace `name`."""
    paths.WORKSPACES.mkdir(exist_ok=True)
    with (paths.WORKSPACES / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
