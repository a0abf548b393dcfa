"""`make keep-stress`: what becomes of the stage `stress` for runs whose networks are kept nowhere.

After a family of changes has changed, `stress@RUN` is stale for every run, and can be made again only where the network
is. A run that became a champion is asked by the champion's committed graph. Any other keeps the logits that it has; a
family that it was never asked about stays an empty table, which every page shows as "network not kept".
"""

import logging
import subprocess
import sys

from pipeline import dvc, paths, settings
from pipeline.command import run
from pipeline.commands.carry_lock import carry
from pipeline.data.tables import write_table
from pipeline.evaluation.predictions import UNSEEN_COLUMNS
from pipeline.registry import contract

log = logging.getLogger("keep-stress")


def main() -> None:
    """Measure by a champion's graph, or keep what is there; then write dvc.lock."""
    locked = dvc.lock()
    kept = [name for name in settings.load().runs if f"{dvc.TRAIN}{name}" in locked and not _is_at_hand(name, locked)]
    for name in kept:
        if contract.champion_of(name) is not None:
            subprocess.run([sys.executable, "-m", "pipeline.stages.stress", name], cwd=paths.ROOT, check=True)
            continue
        file = paths.predictions(name) / "unseen.csv"
        if not file.exists():
            write_table(file, UNSEEN_COLUMNS, [])
        log.info("%s: its network is kept nowhere; it keeps the stress that it has", name)
    carry([f"stress@{name}" for name in kept], made=[f"predictions/{name}/unseen.csv" for name in kept])


def _is_at_hand(name: str, locked: dict) -> bool:
    """Whether the run's network is here, in the cache, or in the remote inside the repository."""
    (network,) = (out for out in locked[f"{dvc.TRAIN}{name}"]["outs"] if out["path"] == f"models/runs/{name}")
    place = f"{network['md5'][:2]}/{network['md5'][2:]}"
    caches = (dvc.paths_in_cache(paths.ROOT), paths.ROOT / "models" / "networks" / "files" / "md5")
    return paths.network(name).is_file() or any((cache / place).exists() for cache in caches)


if __name__ == "__main__":
    run("keep-stress", main)
