"""The champion: `python -m pipeline.registry.champion promote|rollback|show`.

Promotion copies models/candidate/ to models/champions/<version>/, writes the record, then replaces the one-line pointer
models/CHAMPION. Only the last step changes what serves; a crash before it leaves the old champion, and running the same
command again finishes the work.
"""

import argparse
import fcntl
import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pipeline import paths
from pipeline import settings as all_settings
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.files import atomic_folder, put_on_disk, write_text
from pipeline.registry import contract, gate, record, verification

log = logging.getLogger(__name__)

METRICS = ("auc", "sensitivity_at_sensitive", "specificity_at_sensitive", "log_loss_recalibrated")
MEGABYTE = 1e6


def main() -> None:
    """Promote the candidate if the gate agrees, go back to the champion before, or say who it is."""
    parser = argparse.ArgumentParser(prog="champion", description=main.__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    promotion = verbs.add_parser("promote", help="make models/candidate/ the champion, if the gate agrees")
    promotion.add_argument("--again", action="store_true", help="even a version that was rolled back before")
    verbs.add_parser("rollback", help="go back to the champion before this one")
    verbs.add_parser("show", help="who is champion, since when, and by which metrics")
    chosen = parser.parse_args()
    if chosen.verb == "promote":
        promote(again=chosen.again)
    elif chosen.verb == "rollback":
        rollback()
    else:
        sys.stdout.write(show())


def promote(again: bool = False) -> str:
    """Make the candidate the champion; return its version. Doing it twice changes nothing.

    Raises:
        ProjectError: the gate rejects it, it is of another data set, it is too large, it was rolled back before (unless
            `again`), a file is missing, or another promotion is under way.
    """
    settings = all_settings.load()
    with _locked():
        history = record.events()
        terms = contract.read(paths.CANDIDATE)
        version, champion = terms["version"], record.champion()
        if version == champion:
            _expect_files(version)
            log.info("%s is the champion already", version)
            return version
        _expect_same_dataset(terms, champion)
        _expect_size(settings.compare.release.max_megabytes)
        if version in record.rolled_back(history) and not again:
            raise ProjectError(f"{version} was rolled back before; `--again` promotes it all the same")
        decision = gate.judge(paths.CANDIDATE, settings)
        gate.show(decision)
        gate.keep(decision)
        if not decision.passed:
            raise ProjectError(gate.rejection(decision))
        for left_over in paths.CHAMPIONS.glob(".*.tmp"):  # of a promotion that was killed while it copied
            shutil.rmtree(left_over)
        with atomic_folder(paths.CHAMPIONS / version) as folder:
            shutil.copytree(paths.CANDIDATE, folder, dirs_exist_ok=True)
            put_on_disk(folder)  # before the pointer names it
        event = _event("promote", terms, champion) | {"gate": gate.describe(decision)}
        record.append(history, event)
        write_text(paths.CHAMPION, f"{version}\n", durable=True)
    log.info("%s is the champion now, in place of %s", version, champion or "none")
    return version


def rollback() -> str:
    """Go back to the champion before this one; return its version.

    Raises:
        ProjectError: there is none, its files are not at hand, or another promotion is under way.
    """
    with _locked():
        history = record.events()
        line = record.line_of_champions(history)
        if len(line) < 2:
            raise ProjectError(f"no champion to go back to: {line[0] if line else 'none'} is the first")
        champion, version = line[-1], line[-2]
        _expect_files(version)
        record.append(history, _event("rollback", contract.read(paths.CHAMPIONS / version), champion))
        write_text(paths.CHAMPION, f"{version}\n", durable=True)
    log.info("%s is the champion again, in place of %s", version, champion)
    return version


def show() -> str:
    """The champion, its metrics, the ones before it, and what is wrong with its files, as text."""
    history = record.events()
    if not history:
        return "no champion yet: `make promote` makes the candidate one if the gate agrees\n"
    last = history[-1]
    lines = [
        f"champion  {last['version']}",
        f"since     {last['at']} ({last['action']}, in place of {last['replaces']})",
    ]
    lines.append(f"data      {last['dataset']}, edition {last['edition']}, digest {last['dataset_digest'][:12]}")
    for part, metrics in last["figures"].items():
        shown = ", ".join(f"{name} {_estimate(value)}" for name, value in metrics.items())
        lines.append(f"{part:9} {shown}")
    before = record.line_of_champions(history)[:-1]
    lines.append(f"before    {', '.join(reversed(before)) or 'none'}")
    lines += [f"PROBLEM   {problem}" for problem in _problems(last["version"])]
    return "\n".join(lines) + "\n"


@contextmanager
def _locked() -> Iterator[None]:
    """Hold the lock of promotions: of two at once one wins. The kernel frees it when its holder dies."""
    path = paths.CACHE / "promotion.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProjectError("another promotion or rollback is under way; this one changed nothing") from None
        yield


def _expect_same_dataset(terms: dict[str, Any], champion: str | None) -> None:
    """Outside a workspace no phantom becomes champion, and none of another data set than the champion's."""
    if paths.ROOT.parent.name == paths.WORKSPACES.name:
        return
    if terms["dataset"] == "phantom":
        raise ProjectError("the candidate was trained on phantoms: it can be champion in a workspace alone (make demo)")
    if champion is None:
        return
    theirs = contract.read(paths.CHAMPIONS / champion)["dataset"]
    if theirs != terms["dataset"]:
        raise ProjectError(f"the candidate is of data set {terms['dataset']}, champion {champion} of {theirs}: refused")


def _expect_size(max_megabytes: float) -> None:
    """The champion ships in the repository."""
    size = sum(path.stat().st_size for path in paths.CANDIDATE.iterdir()) / MEGABYTE
    if size > max_megabytes:
        raise ProjectError(
            f"models/candidate/ has {size:.1f} MB, compare.release.max_megabytes is {max_megabytes:g}; "
            "package.weights: float16 halves it"
        )


def _expect_files(version: str) -> None:
    problems = _problems(version)
    if problems:
        raise ProjectError("; ".join(problems))


def _problems(version: str) -> list[str]:
    problem = verification.problem(version)
    if problem is None:
        return []
    return [
        f"the files of {version} are not at hand: {problem}; `git checkout -- models/champions/{version}` brings them back"
    ]


def _event(action: str, terms: dict[str, Any], replaces: str | None) -> dict[str, Any]:
    """Who replaced whom, when, by which metrics, on which data."""
    metrics = {
        part: {name: terms["figures"][part][name] for name in METRICS if name in terms["figures"][part]}
        for part in ("validation", "stress", "test")
    }
    return {
        "action": action,
        "version": terms["version"],
        "replaces": replaces,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": terms["run"],
        "figures": metrics,
        **{key: terms[key] for key in ("dataset", "edition", "dataset_digest")},
    }


def _estimate(estimate: dict[str, Any]) -> str:
    if isinstance(estimate["value"], str):
        return estimate["value"]
    return f"{estimate['value']:.4f} ({estimate['low']:.4f} to {estimate['high']:.4f})"


if __name__ == "__main__":
    run("champion", main)
