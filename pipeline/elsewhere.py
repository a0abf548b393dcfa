"""Runs whose networks stayed on the machine that trained them: their predictions are here, so they need no training.

`make import-runs` writes their names into `.work/elsewhere`, one a line. A fresh clone has none, and trains all runs.
"""

from collections.abc import Iterable

from pipeline import dvc, paths
from pipeline.files import write_text

FILE = paths.WORKSPACES / "elsewhere"


def remember(names: Iterable[str]) -> None:
    """Add runs to those whose networks are elsewhere."""
    write_text(FILE, "".join(f"{name}\n" for name in sorted({*names, *_known()})))


def among(runs: Iterable[str]) -> list[str]:
    """Those of `runs` whose network is elsewhere, as long as all else that dvc.lock says of them is so here."""
    known = _known()
    found = [name for name in runs if name in known]
    return dvc.lacking_a_network_alone(found) if found else []


def _known() -> set[str]:
    return set(FILE.read_text(encoding="utf-8").split()) if FILE.exists() else set()
