"""The report and its sheets as an example in docs/example/, from a workspace of generated radiographs and from no other.

    python -m pipeline.evaluation.example WORKSPACE

Sheets with real pictures never enter git; these show nobody.
"""

import json
import logging
import shutil
import sys
from pathlib import Path

from pipeline import paths
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.evaluation.report import webp
from pipeline.files import atomic_folder

log = logging.getLogger("example")

SHEETS = (
    "reports/figures/samples_normal.png",
    "reports/figures/samples_pneumonia.png",
    "reports/explain/maps.png",
    "reports/explain/sheet.png",
    "reports/explain/feature_maps.png",
)


def main() -> None:
    """Copy the report and the sheets, as WebP, from a workspace."""
    if len(sys.argv) != 2:
        raise ProjectError("usage: python -m pipeline.evaluation.example WORKSPACE (make demo makes .work/demo)")
    copy(Path(sys.argv[1]), paths.ROOT / "docs" / "example")


def copy(workspace: Path, target: Path) -> None:
    """Replace `target` by the report and the sheets of `workspace`.

    Raises:
        ProjectError: the workspace's pictures are not generated, or a file is missing.
    """
    for name in ("data/dataset.json", "reports/index.html", *SHEETS):
        if not (workspace / name).is_file():
            raise ProjectError(f"{workspace / name} is missing: run the pipeline there first (make demo)")
    dataset = json.loads((workspace / "data" / "dataset.json").read_text(encoding="utf-8"))["dataset"]
    if dataset != "phantom":
        raise ProjectError(f"{workspace} holds pictures of {dataset}: only generated ones may be shown in docs/")
    with atomic_folder(target) as folder:
        shutil.copyfile(workspace / "reports" / "index.html", folder / "report.html")
        for name in SHEETS:
            (folder / Path(name).with_suffix(".webp").name).write_bytes(webp(workspace / name))
        size = sum(path.stat().st_size for path in folder.iterdir())
    log.info("%s: %.1f MB", target, size / 1e6)


if __name__ == "__main__":
    run("example", main)
