"""The report and its sheets as an example in docs/example/, from a workspace of generated radiographs and from no other.

    python -m pipeline.reporting.example [WORKSPACE]

Without a workspace it makes one, .work/example, with every network of params.yaml, small and hardly trained: some minutes on
two cores. Sheets with real images never enter git; these show nobody.
"""

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

from pipeline import dvc, paths, settings, workspaces
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.files import atomic_folder, read_json
from pipeline.reporting.report import webp

log = logging.getLogger("example")

SHEETS = (
    "reports/figures/samples_normal.png",
    "reports/figures/samples_pneumonia.png",
    "reports/explain/maps.png",
    "reports/explain/sheet.png",
    "reports/explain/feature_maps.png",
)


QUICK = {"group": "balanced", "augmentation": "geometric", "seed": 0, "weights": "random", "epochs": 1, "batch_size": 8}
LONGER = {"custom_cnn": {"epochs": 6, "batch_size": 4}}  # it makes the maps that are shown
OVERLAY: dict[str, Any] = {
    "ingest": {"dataset": "phantom", "phantom": {"train": 320, "val": 16, "test": 100}},
    "preprocess": {"image_size": 96},
    "evaluate": {"resamples": 500},
    "explain": {"cascade": {"pictures": 40, "steps": 8, "draws": 2}},
}


def main() -> None:
    """Copy the report and the sheets, as WebP, from a workspace; make one where none is named."""
    if len(sys.argv) > 2:
        raise ProjectError("usage: python -m pipeline.reporting.example [WORKSPACE]")
    copy(Path(sys.argv[1]) if len(sys.argv) == 2 else _make(), paths.ROOT / "docs" / "example")


def _make() -> Path:
    # One run of each network; what they learn matters less than that every figure of the page is drawn.
    runs = {
        f"{name}-balanced-0": {"network": name, **QUICK, **LONGER.get(name, {})} for name in settings.load().networks
    }
    folder = workspaces.create("example", OVERLAY | {"train": {"runs": runs, "planned": {}}}, copy=True)
    if dvc.call("repro", folder=folder) != 0:
        raise ProjectError("a stage failed (its message is above)")
    return folder


def copy(workspace: Path, target: Path) -> None:
    """Replace `target` by the report and the sheets of `workspace`.

    Raises:
        ProjectError: the workspace's images are not generated, or a file is missing.
    """
    for name in ("data/dataset.json", "reports/index.html", *SHEETS):
        if not (workspace / name).is_file():
            raise ProjectError(f"{workspace / name} is missing: run the pipeline there first (make demo)")
    dataset = read_json(workspace / "data" / "dataset.json")["dataset"]
    if dataset != "phantom":
        raise ProjectError(f"{workspace} holds images of {dataset}: only generated ones may be shown in docs/")
    with atomic_folder(target) as folder:
        shutil.copyfile(workspace / "reports" / "index.html", folder / "report.html")
        for name in SHEETS:
            (folder / Path(name).with_suffix(".webp").name).write_bytes(webp(workspace / name))
        size = sum(path.stat().st_size for path in folder.iterdir())
    log.info("%s: %.1f MB", target, size / 1e6)


if __name__ == "__main__":
    run("example", main)
