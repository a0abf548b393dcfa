"""`make demo`: the whole pipeline on generated radiographs, in .work/demo; then what was made, in words."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pipeline import dvc, workspaces
from pipeline.command import run
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.files import read_json

log = logging.getLogger(__name__)

# Both networks, every group and each recipe of the study: (network, group, recipe)
RUNS = (
    ("custom_cnn", "augmented", "geometric"),
    ("custom_cnn", "balanced", "geometric"),
    ("custom_cnn", "raw", "none"),
    ("densenet121", "balanced", "geometric"),
)
OVERLAY: dict[str, Any] = {
    "ingest": {"dataset": "phantom", "phantom": {"train": 240, "val": 16, "test": 80}},
    "train": {
        "runs": {
            f"{network}-{group}-0": {
                "network": network, "group": group, "augmentation": recipe, "seed": 0, "weights": "random",
                "epochs": 2, "batch_size": 4,
            }
            for network, group, recipe in RUNS
        },
        "planned": {},
    },
    "evaluate": {"resamples": 500},
}  # fmt: skip


def summary(folder: Path) -> str:
    """What the demo made, in plain words, read from the files that it made."""
    dataset = read_json(folder / "data" / "dataset.json")
    rows = []
    for name in OVERLAY["train"]["runs"]:
        metrics = read_json(folder / "metrics" / "runs" / f"{name}.json")
        interval = f"{metrics['test_accuracy_low']:.2f} to {metrics['test_accuracy_high']:.2f}"
        rows.append(f"  {name:26} accuracy {metrics['test_accuracy']:.3f} ({interval})  AUC {metrics['test_auc']:.3f}")
    quarantined = len(read_table(folder / "data" / "manifest" / "quarantine.csv"))
    candidate = read_json(folder / "metrics" / "candidate.json")["run"]
    places = {
        "the report": folder / "reports" / "index.html",
        "sixteen images of each class": folder / "reports" / "figures",
        "the checks of the data set": folder / "reports" / "validation",
        "tables and curves": folder / "plots",
        "the packaged network": folder / "models" / "candidate",
    }
    return "\n".join(
        [
            "",
            f"Made: {dataset['pictures']} generated radiographs ({quarantined} quarantined), {len(rows)} networks.",
            "On the generated test images, with 95 % intervals (nothing here is about children):",
            *rows,
            f"The rule in params.yaml names {candidate} as candidate, from validation images alone.",
            "",
            "Look at:",
            *(f"  {what:32} {where}" for what, where in places.items() if where.exists()),
            "",
            "The same on the real data set: make repro (see README.md). Research software, not a medical device.",
        ]
    )


def main() -> None:
    """Make the workspace, run every stage, say what came out."""
    started = time.monotonic()
    folder = workspaces.create("demo", OVERLAY, copy=True)
    log.info("running every stage in %s", folder)
    jobs = str(min(2, os.cpu_count() or 1))
    command = [sys.executable, "-m", "pipeline.commands.study", "--jobs", jobs]
    if subprocess.call(command, cwd=folder, env=dvc.environment()) != 0:
        raise ProjectError("a stage failed (its message is above)")
    print(summary(folder))
    log.info("%.1f minutes", (time.monotonic() - started) / 60)


if __name__ == "__main__":
    run("demo", main)
