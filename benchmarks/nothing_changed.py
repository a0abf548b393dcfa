"""Seconds of `dvc repro` with nothing changed, beside `dvc version` (the start of DVC itself) in the same run.

    python -m benchmarks.nothing_changed [FOLDER]

FOLDER is a workspace in which the graph ran to its end; .work/demo by default.
"""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.support import record
from pipeline import dvc, paths

REPEATS = 3


def seconds(folder: Path, *arguments: str) -> float:
    """The fastest of some repeats."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        done = subprocess.run(
            dvc.command(*arguments), cwd=folder, env=dvc.environment(), capture_output=True, text=True, check=False
        )
        times.append(time.perf_counter() - started)
        if done.returncode or "Running stage" in done.stdout:
            sys.exit(
                f"dvc {' '.join(arguments)} had something to do in {folder}: {done.stdout[-300:]}{done.stderr[-300:]}"
            )
    return min(times)


def main() -> None:
    """Print one table."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else paths.WORKSPACES / "demo"
    if not (folder / "dvc.lock").exists():
        sys.exit(f"{folder} holds no finished graph; run make demo first")
    files = sum(1 for _ in (folder / "data" / "raw").rglob("*.jpeg"))
    print(f"{len(dvc.lock(folder))} stages, {files} images")
    print(f"{'command':24} {'seconds':>8}")
    ours, peer = seconds(folder, "repro"), seconds(folder, "version")
    print(f"{'dvc repro':24} {ours:8.1f}")
    print(f"{'dvc version':24} {peer:8.1f}")
    title = f"`dvc repro`, nothing changed, {len(dvc.lock(folder))} stages, {files:,} images"
    record.keep("nothing_changed", [record.row(title, "s", round(ours, 2), round(peer, 2), "dvc version")])


if __name__ == "__main__":
    main()
