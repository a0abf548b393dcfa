"""A scratch copy of the project with other settings, under .work/<name>/, so that the checkout stays clean.

`python -m pipeline.workspaces create NAME [--copy] [--overlay FILE]` prints the folder; `remove NAME` removes it.

By default a workspace is a git worktree at the current commit that shares the checkout's DVC cache: for real studies
and retraining. With `--copy` it is a plain copy of the project's files with a DVC of its own and no git: for the demo
and tests.
"""

import argparse
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pipeline import dvc, git, paths, settings
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.files import write_text
from pipeline.old_names import with_new_names
from pipeline.schema import read_yaml

log = logging.getLogger(__name__)

TABLES = ("train.runs", "train.planned")


def create(name: str, overlay: dict[str, Any] | None = None, copy: bool = False, commit: str = "HEAD") -> Path:
    """Make the workspace `name`, or bring an existing one up to the current code; returns its folder.

    Args:
        name: of the folder below .work/.
        overlay: settings laid over params.yaml; mappings are merged, tables of runs are replaced whole.
        copy: plain copy of the project's files instead of a git worktree.
        commit: of the worktree.

    Raises:
        ProjectError: a setting is unknown, or the folder holds something else.
    """
    folder = paths.WORKSPACES / name
    if Path(name).name != name or name.startswith("."):
        raise ProjectError(f"{name!r} is no name for a workspace: letters, digits, '-' and '_' in one word")
    if copy:
        _copy_tracked_files(folder)
    else:
        add_worktree(folder, commit)
    params = folder / "params.yaml"
    if overlay:
        merged = merge(read_yaml(params), with_new_names(overlay, "overlay"))
        write_text(params, yaml.safe_dump(merged, sort_keys=False))
    settings.load(params)
    return folder


def remove(name: str) -> None:
    """Remove a workspace and what it holds; the DVC cache keeps what its stages made."""
    shutil.rmtree(paths.WORKSPACES / name, ignore_errors=True)
    git.output("worktree", "prune")


def merge(base: dict[str, Any], overlay: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Lay `overlay` over `base`, mapping by mapping. Tables of runs are replaced: their lines are what is wanted."""
    merged = dict(base)
    for key, value in overlay.items():
        place = f"{where}{key}"
        if isinstance(value, dict) and isinstance(base.get(key), dict) and place not in TABLES:
            merged[key] = merge(base[key], value, f"{place}.")
        else:
            merged[key] = value
    return merged


def _copy_tracked_files(folder: Path) -> None:
    """Copy what git does not ignore, as it stands in the checkout; outputs of the study and DVC's folder stay behind."""
    if not (folder / ".dvc").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for arguments in (["init", "--no-scm", "-q"], ["config", "core.analytics", "false"]):
            subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True)
    listed = git.output("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    left_out = (".dvc/", "predictions/", "metrics/", "plots/", "reports/", "models/", "dvc.lock")
    for file in filter(None, listed):
        source, target = paths.ROOT / file, folder / file
        if (file.startswith(left_out) and not file.startswith(".dvc/plots/")) or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def add_worktree(folder: Path, commit: str) -> None:
    """A detached git worktree at `commit`, with the checkout's DVC cache."""
    if (folder / ".git").exists():
        git.output("checkout", "-q", "-f", "--detach", git.output("rev-parse", commit).strip(), folder=folder)
    elif folder.exists():
        raise ProjectError(f"{folder} is there and is no workspace of this checkout; remove it or choose another name")
    else:
        git.output("worktree", "prune")
        git.output("worktree", "add", "-q", "--detach", str(folder), commit)
    cache = dvc.cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    write_text(folder / ".dvc" / "config.local", f"[cache]\n    dir = {cache}\n")


def main() -> None:
    """Create or remove a workspace from the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.workspaces", description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["create", "remove"])
    parser.add_argument("name")
    parser.add_argument("--copy", action="store_true", help="a plain copy with a DVC of its own, no git")
    parser.add_argument("--overlay", type=Path, help="a YAML file laid over params.yaml")
    arguments = parser.parse_args()
    if arguments.verb == "remove":
        remove(arguments.name)
    else:
        overlay = read_yaml(arguments.overlay) if arguments.overlay else {}
        print(create(arguments.name, overlay, copy=arguments.copy))


if __name__ == "__main__":
    run("workspace", main)
