"""The workspace of a retraining: made once, found again by every task, on whatever machine the task runs."""

import fcntl
import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipeline import paths, workspace
from pipeline.errors import ProjectError
from pipeline.files import write_json, write_text
from pipeline.retraining import sharing
from pipeline.retraining.processes import check, shortage
from pipeline.retraining.request import Request, lay_over

log = logging.getLogger(__name__)

KEPT = 3  # workspaces of finished retrainings that stay
_READY = ".retraining"  # written last, so that a workspace half made is made again


def workspace_of(request: Request) -> Path:
    """The folder of a run's workspace, made if this machine has none yet: the commit, the overlay, the remote.

    Raises:
        ProjectError: the parameters name something unknown, or the commit is not in this checkout.
    """
    folder = paths.WORKSPACES / request.workspace
    with _alone(request.workspace):
        if not (folder / _READY).exists():
            try:
                workspace.create(request.workspace, commit=request.commit or "HEAD")
            except ProjectError as error:
                raise ProjectError(f"{error}{shortage(paths.WORKSPACES)}") from None
            _prepare(folder, request)
            whole = not request.changes_settings
            write_json(folder / _READY, {"run": request.run_id, "whole": whole, "finished": False})
    _mend(folder)
    return folder


def runs_of(folder: Path) -> list[str]:
    """The names in a workspace's table of runs."""
    return list(yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["train"]["runs"])


def finished(folder: Path) -> bool:
    """Whether a retraining came to its end in this workspace."""
    return bool(_notes(folder)["finished"])


def was_whole(folder: Path) -> bool:
    """Whether the retraining used params.yaml as it was committed: all runs, no other settings."""
    return bool(_notes(folder)["whole"])


def note_finished(folder: Path) -> None:
    """Remember that a retraining came to its end."""
    write_json(folder / _READY, _notes(folder) | {"finished": True})


def retrainings() -> list[Path]:
    """The workspaces of all retrainings on this machine, oldest first."""
    found = [path.parent for path in paths.WORKSPACES.glob(f"retrain-*/{_READY}")]
    return sorted(found, key=lambda folder: (folder / _READY).stat().st_mtime)


def remove_old() -> None:
    """Remove workspaces of finished retrainings but the last few: their results are in the cache and in git."""
    for folder in [folder for folder in retrainings() if finished(folder)][:-KEPT]:
        workspace.remove(folder.name)


def _notes(folder: Path) -> dict[str, Any]:
    return json.loads((folder / _READY).read_text(encoding="utf-8"))


def _prepare(folder: Path, request: Request) -> None:
    params = lay_over(yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8")), request)
    write_text(folder / "params.yaml", yaml.safe_dump(params, sort_keys=False, width=120))
    # By the workspace's own code: the checkout's may have moved on, or be half edited.
    read = "from pipeline import settings; from pipeline.command import run; run('params', settings.load)"
    check([sys.executable, "-c", read], folder, "the run's parameters")
    # What other data taught other runs must not stand beside what this run will find.
    for run in (folder / "predictions").glob("*"):
        if run.is_dir() and run.name not in params["train"]["runs"]:
            shutil.rmtree(run)
    if sharing.is_on():
        sharing.set_remote(folder)


def _mend(folder: Path) -> None:
    """Mend DVC's note of who uses which file: DVC does nothing beside half a note, or one that names a process that was killed.

    DVC does not write it in one step, so half of it is damage only when it stays so. It strikes out the dead itself, but
    not those that nobody has buried (zombies), as in a container whose first process does not.
    """
    note = folder / ".dvc" / "tmp" / "rwlock"
    for pause in (1, 0):
        try:
            users = json.loads(note.read_text(encoding="utf-8") or "{}")
            break
        except FileNotFoundError:
            return
        except ValueError:
            time.sleep(pause)
    else:
        log.warning("%s was half written: removed", note)
        note.unlink(missing_ok=True)
        return
    left = {}
    for path, held in users.items():
        alive = {"write": held.get("write"), "read": [user for user in held.get("read", []) if _lives(user["pid"])]}
        if alive["write"] and not _lives(alive["write"]["pid"]):
            alive["write"] = None
        if alive := {how: who for how, who in alive.items() if who}:
            left[path] = alive
    if left != users:
        write_text(note, json.dumps(left))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return not Path("/proc/self").exists()  # without /proc nothing is known: DVC decides


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One task at a time makes the workspace `name`."""
    paths.WORKSPACES.mkdir(exist_ok=True)
    with (paths.WORKSPACES / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
