"""The augmentation recipes, one file each: their names, kinds of change and ranges, known without Keras.

A module of this folder is a recipe unless it is in `SHARED`. It defines `KINDS`, the kinds of change that it draws (words of
`pipeline.robustness`), and `RANGES`; `layers.py` makes layers of them. A recipe that needs further layers defines
`further_layers`, a function without arguments that gives a list of Keras layers; they come last. No recipe flips an image.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from pipeline.errors import ProjectError

SHARED = {"__init__", "compiled", "keras_cv_adapter", "layers"}


@dataclass(frozen=True)
class Ranges:
    """Ranges: turns, shares of the side, and grey values. Zero switches a change off.

    Attributes:
        rotation: turns to either side.
        zoom: of each axis, drawn by itself within 1 - zoom to 1 + zoom.
        shift: of each axis, as a share of the side, to either side.
        log_gamma: grey values to the power exp(u), u within plus or minus this.
        contrast: distances from the mean times 1 - contrast to 1 + contrast.
        brightness: share of the grey range, added or taken away.
    """

    rotation: float
    zoom: float
    shift: float
    log_gamma: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0


def names() -> list[str]:
    """Every recipe that has a file here, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in SHARED)


def get(name: str) -> ModuleType:
    """The module of that recipe.

    Raises:
        ProjectError: it has no file here.
    """
    if name not in names():
        raise ProjectError(f"unknown augmentation {name!r}; known: {', '.join(names())}")
    return import_module(f"{__name__}.{name}")
