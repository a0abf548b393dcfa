"""No image of a patient enters git: `python -m pipeline.ci.no_images FILE...` names each that is or holds an image.

The pre-commit hook runs it on what is to be committed, a test on every tracked file.
"""

import fnmatch
import sys
from collections.abc import Iterable
from pathlib import Path

from pipeline.ci.image_content import kind
from pipeline.command import run
from pipeline.errors import ProjectError

MEANS = "means and spreads over a whole class; no single patient is in them"
GENERATED = "drawn by `make demo` from generated radiographs"
# Files whose images show no patient, each with the reason. A further one needs a reason of its own.
ALLOWED = {
    "docs/example/feature_maps.webp": GENERATED,
    "docs/example/maps.webp": GENERATED,
    "docs/example/report.html": GENERATED,
    "docs/example/samples_normal.webp": GENERATED,
    "docs/example/samples_pneumonia.webp": GENERATED,
    "docs/example/sheet.webp": GENERATED,
    "plots/exploration/deviations.svg": MEANS,
    "plots/exploration/difference.svg": MEANS,
    "plots/exploration/means.svg": MEANS,
    "models/champions/*/guard.npz": "mean and principal axes over all training images; no single patient is in them",
}


def main() -> None:
    """Exit with 1 when one of the named files is or holds an image."""
    if shown := images(sys.argv[1:], Path()):
        raise ProjectError(
            f"radiographs are outputs outside git: {'; '.join(shown)}; where no patient is shown, "
            "name the file and the reason in pipeline/ci/no_images.py"
        )


def images(names: Iterable[str], root: Path) -> list[str]:
    """`name (what it is)` for each file below `root` that is or holds an image and is not in ALLOWED."""
    files = [name for name in names if not is_allowed(name) and (root / name).is_file()]
    return [f"{name} ({content})" for name in files if (content := kind((root / name).read_bytes()))]


def is_allowed(name: str) -> bool:
    """Whether a path below the root is known to show no patient."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in ALLOWED)


if __name__ == "__main__":
    run("no-images", main)
