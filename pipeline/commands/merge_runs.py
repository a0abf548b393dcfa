"""`make merge-runs`: settle dvc.lock and `train.runs` of params.yaml where two branches each added runs.

dvc.lock is merged stage by stage, `train.runs` run by run, each taken whole from one side: lines mixed from both can be
valid YAML that names results which nobody made. Works in any conflict that git keeps: of a merge, a rebase, a cherry-pick.
"""

import argparse
import logging
from collections.abc import Collection
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage
from dvc.utils.serialize import dumps_yaml

from pipeline import git, paths
from pipeline.command import run
from pipeline.commands import params_text
from pipeline.commands.params_text import read
from pipeline.commands.three_way import Sides, merge
from pipeline.dvc import TRAIN
from pipeline.errors import ProjectError
from pipeline.files import write_text

log = logging.getLogger(__name__)

LOCK, PARAMS, GRAPH = "dvc.lock", "params.yaml", "dvc.yaml"
FEW = 5


def main() -> None:
    """Merge what is in conflict, read it through DVC, and tell git that it is settled."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.commands.merge_runs", description=__doc__.splitlines()[0])
    parser.add_argument("--take", choices=["ours", "theirs"], help="whose training holds where both sides changed it")
    take = parser.parse_args().take
    unmerged = in_conflict()
    files = [name for name in (LOCK, PARAMS) if name in unmerged]
    if not files:
        log.info("nothing to merge: neither %s nor %s is in conflict", LOCK, PARAMS)
        return
    if GRAPH in unmerged:
        raise ProjectError(f"{GRAPH} is in conflict: settle it by hand, `git add {GRAPH}`, then make merge-runs again")
    versions = {name: _versions(name) for name in files}
    stale = settle(versions, take)
    if left := params_text.conflicts(_text(PARAMS)):
        raise ProjectError(
            f"{PARAMS}: train.runs is merged; a conflict outside it is left: {_few(left)}; "
            "settle it by hand, then make merge-runs again"
        )
    check(versions)
    git.output("add", "--", *files)
    log.info("merged, read by DVC, and added: %s", ", ".join(files))
    if stale:
        log.info("both sides changed %s: %s stays, and is stale; run dvc repro", _few(stale), take or "ours")
    if others := [name for name in unmerged if name not in files]:
        log.info("still in conflict: %s", _few(others))


def settle(versions: dict[str, Sides[Any]], take: str | None) -> list[str]:
    """Write the merged files, except one that a person has settled: it has no conflict markers of git any more.

    Args:
        versions: dvc.lock and params.yaml, as `_versions` returns them.
        take: `ours` or `theirs`: whose version holds where both sides changed it.

    Returns:
        The stages after the trainings that both sides changed.

    Raises:
        ProjectError: both sides changed a run, and `take` does not say whose holds; no file is changed.
    """
    texts, runs, stale = {}, list[str](), list[str]()
    for name, sides in versions.items():
        if not _is_as_git_left_it(_text(name)):
            continue
        if name == PARAMS:
            texts[name], clashes = params_text.combine(sides, take)
        else:
            stages, clashes = merge(sides, take)
            texts[name] = dumps_yaml({"schema": "2.0", "stages": stages})
        runs += [clash.removeprefix(TRAIN) for clash in clashes if name == PARAMS or clash.startswith(TRAIN)]
        stale += [clash for clash in clashes if name == LOCK and not clash.startswith(TRAIN)]
    if runs and not take:
        raise ProjectError(
            f"both sides changed the training of {_few(dict.fromkeys(runs))}; nothing is merged: "
            "say whose holds, make merge-runs TAKE=ours or TAKE=theirs"
        )
    for name, text in texts.items():
        write_text(paths.ROOT / name, text)
    return stale


def check(versions: dict[str, Sides[Any]]) -> None:
    """Look whether the merged files are the union: all that a side has and none deleted, nothing else, and read by DVC.

    Raises:
        ProjectError: they are not; the files stay in conflict for git.
    """
    stages = read(_text(LOCK), LOCK).get("stages", {})
    problems = []
    if LOCK in versions:
        _, ours, theirs = versions[LOCK]
        problems += [f"{LOCK} lacks {name}" for name in sorted(_kept(versions[LOCK]) - stages.keys())]
        mixed = [name for name, stage in stages.items() if stage not in (ours.get(name), theirs.get(name))]
        problems += [f"{LOCK} has {name} as neither side has it" for name in mixed]
    if PARAMS in versions:
        tables = Sides(*(side.runs for side in versions[PARAMS]))
        runs = params_text.split(_text(PARAMS), PARAMS).runs
        problems += [f"{PARAMS} lacks the run {name}" for name in sorted(_kept(tables) - runs.keys())]
    problems = problems or [f"DVC does not find {name} as {LOCK} has it" for name in _unread(stages)]
    if problems:
        raise ProjectError(f"{_few(problems)}; git checkout --merge -- {' '.join(versions)} starts over")


def _kept(sides: Sides[dict[str, Any]]) -> set[str]:
    """The keys that a side has and that neither deleted."""
    base, ours, theirs = (side.keys() for side in sides)
    return (ours | theirs) - (base - ours) - (base - theirs)


def _unread(stages: dict[str, Any]) -> list[str]:
    """Stages of dvc.yaml whose outputs DVC does not know as dvc.lock has them."""
    try:
        with Repo(str(paths.ROOT)) as repo:
            repo.index.check_graph()
            known = {stage.addressing: stage for stage in repo.index.stages}
    except DvcException as error:
        raise ProjectError(f"DVC cannot read the merged files: {str(error).splitlines()[0]}") from None
    return [name for name, stage in stages.items() if name in known and not _agrees(known[name], stage)]


def _agrees(stage: Stage, locked: dict[str, Any]) -> bool:
    known = {out.def_path: out.hash_info.value for out in stage.outs}
    return all(known[out["path"]] == out.get("md5") for out in locked.get("outs", []) if out["path"] in known)


def in_conflict() -> list[str]:
    """The files below the project's root that git holds in several versions."""
    listed = git.output("ls-files", "--unmerged", "-z").split("\0")
    return sorted({line.partition("\t")[2] for line in listed if line})


def _versions(name: str) -> Sides[Any]:
    """The versions of a file in conflict: of dvc.lock its stages by name, of params.yaml its parts."""
    parse = params_text.split if name == PARAMS else _stages
    base, ours, theirs = (_version(number, name) for number in (1, 2, 3))
    if ours is None or theirs is None or (base is None and name == PARAMS):
        raise ProjectError(
            f"{name} is new or deleted on one side: settle it by hand, `git add {name}` or `git rm {name}`"
        )
    return Sides(parse(base or "", f"{name} (base)"), parse(ours, f"{name} (ours)"), parse(theirs, f"{name} (theirs)"))


def _version(number: int, name: str) -> str | None:
    if not git.output("ls-files", "--unmerged", "--", name).count(f" {number}\t"):
        return None
    return git.output("show", f":{number}:./{name}")


def _stages(text: str, where: str) -> dict[str, Any]:
    content = read(text, where)
    if content.keys() - {"schema", "stages"}:
        raise ProjectError(f"{where} holds more than stages: settle it by hand")
    return content.get("stages", {})


def _is_as_git_left_it(text: str) -> bool:
    return bool(params_text.conflicts(text)) and params_text.LABEL not in text


def _text(name: str) -> str:
    return (paths.ROOT / name).read_text(encoding="utf-8")


def _few(names: Collection[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join([*names][:FEW]) + more


if __name__ == "__main__":
    run("merge-runs", main)
