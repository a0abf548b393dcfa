"""What `dvc repro` would need and nobody makes: DVC itself ends in a bare "No such file or directory" when it gets there."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import dvc, paths
from pipeline.errors import ProjectError

Stages = Mapping[str, Mapping[str, Any]]
Changes = Mapping[str, list[Any]]


def check(options: Sequence[str], folder: Path = paths.ROOT) -> list[str]:
    """Before `dvc repro` with these options: is there what its stages read?

    Returns:
        Stages that lack data, and run only if those before them write something new; each as `stage (data, data)`.

    Raises:
        ProjectError: a stage would run and lacks data that no stage would make.
    """
    locked, changes = dvc.lock(folder), dvc.status(folder)
    certain, possible = lacking(locked, changes, "--allow-missing" in options)
    if not certain:
        return [_told(stage, data) for stage, data in possible.items()]
    cache = dvc.paths_in_cache(folder)
    absent = {path for data in certain.values() for path in data}
    kept = sorted(path for path in absent if _is_in_cache(path, locked, cache))
    cure = (
        f"`dvc checkout {' '.join(kept)}` brings"
        if kept
        else "without --allow-missing it is made again; `dvc pull` brings"
    )
    raise ProjectError(
        f"nothing was run: {'; '.join(_told(stage, data) for stage, data in certain.items())} would run, and this data "
        f"is not here; {cure} what is stored"
    )


def lacking(locked: Stages, changes: Changes, allow_missing: bool) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Stages and the data that each lacks: those that would run, and those that run only after a change before them.

    Args:
        locked: the stages of dvc.lock.
        changes: of each stage, as `dvc status --json` has them.
        allow_missing: whether outputs that are not here are left where they are, as `--allow-missing` does.
    """
    running = {stage for stage in changes if _would_run(stage, locked, changes[stage], allow_missing)}
    reached = _after(running, locked, changes)
    made = {path for stage in reached for path in _outs(stage, locked, changes)}
    absent = {
        stage: [path for path in _deleted(changes.get(stage, [])) if not _covered(path, made)] for stage in reached
    }
    certain = {stage: data for stage, data in absent.items() if data and stage in running}
    return certain, {stage: data for stage, data in absent.items() if data and stage not in running}


def _would_run(stage: str, locked: Stages, told: list[Any], allow_missing: bool) -> bool:
    if stage not in locked or dvc.differs(told):
        return True
    states = {state for change in told for state in change.get("changed outs", {}).values()}
    return bool(states - {"deleted", "not in cache"} if allow_missing else told)


def _after(running: set[str], locked: Stages, changes: Changes) -> list[str]:
    """These stages and all that read what they write, and so on, in a fixed order."""
    reached, waiting = set(running), list(running)
    while waiting:
        made = _outs(waiting.pop(), locked, changes)
        further = {
            stage
            for stage, entry in locked.items()
            if any(_covered(dep["path"], made) for dep in entry.get("deps", []))
        }
        waiting += further - reached
        reached |= further
    return sorted(reached)


def _outs(stage: str, locked: Stages, changes: Changes) -> set[str]:
    """The outputs of a stage, also of one that never ran."""
    new = (
        path for change in changes.get(stage, []) if isinstance(change, dict) for path in change.get("changed outs", {})
    )
    return {out["path"] for out in locked.get(stage, {}).get("outs", [])} | set(new)


def _deleted(told: list[Any]) -> list[str]:
    deps = (change.get("changed deps", {}) for change in told if isinstance(change, dict))
    return [path for changed in deps for path, state in changed.items() if state == "deleted"]


def _covered(path: str, made: Iterable[str]) -> bool:
    """Whether a path is among these, within one or around one."""
    return any(path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in made)


def _is_in_cache(path: str, locked: Stages, cache: Path) -> bool:
    known = {dep["md5"] for entry in locked.values() for dep in entry.get("deps", []) if dep["path"] == path}
    return any((cache / md5[:2] / md5[2:]).exists() for md5 in known)


def _told(stage: str, data: list[str]) -> str:
    return f"{stage} ({', '.join(data)})"
