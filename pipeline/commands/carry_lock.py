"""Carry entries of dvc.lock over to changed code whose outputs are known to be the same, on a clone without data too.

`dvc commit` does this where every file is present. Here, what is absent keeps the hash that dvc.lock has for its path. That
the code does the same is the caller's to show; that no content changed is checked here, before anything is written.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.stage.serialize import to_lockfile
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta

from pipeline import dvc, paths
from pipeline.errors import ProjectError

CODE = "pipeline/"


def carry(names: list[str], root: Path = paths.ROOT, made: Collection[str] = ()) -> list[str]:
    """Write code, settings and paths of these stages, as they are now, into dvc.lock; returns the stages' full names.

    Args:
        names: of stages, or of groups of stages (`train` for every `train@...`).
        root: the project.
        made: paths whose contents may be new: outputs that dvc.lock cannot have yet, and dependencies of which the
            stage reads nothing that is new. That it is so is the caller's to show.

    Raises:
        ProjectError: a stage is unknown; a file is absent and dvc.lock has no hash for it; or an output, or a dependency
            that is no code, is not what dvc.lock has. dvc.lock is then as it was.
    """
    before = dvc.lock(root)
    try:
        with Repo(str(root)) as repo, repo.lock:
            stages = _stages(repo, names)
            for stage in stages:
                _save(stage, before)
                _expect_same_contents(stage.name, to_lockfile(stage)[stage.name], before, made)
            for stage in stages:
                stage.commit(allow_missing=True)
            if stages:
                stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
    except DvcException as error:
        raise ProjectError(f"dvc.lock was not carried over: {' '.join(str(error).split())}") from None
    return [stage.name for stage in stages]


def _stages(repo: Repo, names: list[str]) -> list[PipelineStage]:
    """The stages of dvc.yaml that these names mean, in its order."""
    stages = repo.stage.load_all(path=str(Path(repo.root_dir) / "dvc.yaml"))
    unknown = [name for name in names if not any(_is_meant(stage, name) for stage in stages)]
    if unknown:
        raise ProjectError(f"dvc.yaml has no stage {', '.join(unknown)}")
    return [stage for stage in stages if any(_is_meant(stage, name) for name in names)]


def _is_meant(stage: PipelineStage, name: str) -> bool:
    return stage.name == name or stage.name.startswith(f"{name}@")


def _save(stage: PipelineStage, before: dict[str, Any]) -> None:
    """Hash what is here; what is absent gets the hash that dvc.lock has for its path, in whatever stage."""
    known = {entry["path"]: entry for entry in _entries(before, "deps", "outs")}
    files = [*stage.deps, *stage.outs]
    for file in files:
        if not file.exists and not file.hash_info and file.def_path in known:
            entry = known[file.def_path]
            file.hash_name, file.hash_info, file.meta = "md5", HashInfo("md5", entry["md5"]), Meta.from_dict(entry)
    stage.save(allow_missing=True, run_cache=False)
    unknown = [file.def_path for file in files if not file.hash_info]
    if unknown:
        raise ProjectError(f"{stage.name}: neither here nor in dvc.lock: {', '.join(unknown)}")


def _expect_same_contents(name: str, after: dict[str, Any], before: dict[str, Any], made: Collection[str]) -> None:
    """Raise a `ProjectError` where an output or a dependency that is no code is not, to the byte, what dvc.lock has.

    Under a new path it must be what the stage had under a path that it has no longer; a stage that dvc.lock does not have
    may take the outputs of any stage.
    """
    earlier = {name: before[name]} if name in before else before
    for kind in ("outs", "deps"):
        known = {entry["path"]: entry["md5"] for entry in _entries(before, "deps", "outs")}
        paths_now = {entry["path"] for entry in after.get(kind, [])}
        moved = {entry["md5"] for entry in _entries(earlier, kind) if entry["path"] not in paths_now}
        for entry in after.get(kind, []):
            path, digest = entry["path"], entry["md5"]
            if (kind == "deps" and path.startswith(CODE)) or path in made:
                continue
            if known.get(path, digest) != digest or (path not in known and digest not in moved):
                raise ProjectError(f"{name}: {path} is not what dvc.lock has; bring it back, or run the stage again")


def _entries(stages: dict[str, Any], *kinds: str) -> Iterator[dict[str, Any]]:
    """The dependencies or outputs of these stages of dvc.lock."""
    return (entry for stage in stages.values() for kind in kinds for entry in stage.get(kind, []))
