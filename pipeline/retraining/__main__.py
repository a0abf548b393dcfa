"""The tasks of a retraining: `python -m pipeline.retraining <task>`; dags/ calls them one by one."""

import importlib
import sys

from pipeline.command import run
from pipeline.errors import ProjectError

TASKS = (
    "detect_new_data", "plan", "run_stages", "prepare", "gather_runs", "gate", "promote", "smoke", "track", "deliver",
    "emit_champion_asset",
)  # fmt: skip


def main() -> None:
    """Run the task that the command line names; what follows it there is its own.

    Raises:
        ProjectError: no task is named, or none of this name is there.
    """
    if len(sys.argv) < 2 or sys.argv[1] not in TASKS:
        raise ProjectError(f"name one task of {', '.join(TASKS)}")
    task = sys.argv.pop(1)
    importlib.import_module(f"pipeline.retraining.{task}").main()


if __name__ == "__main__":
    run("retraining", main)
