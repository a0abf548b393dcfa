"""The networks, one file each: their names, smallest images and weight files, known without Keras.

A module of this folder is a network unless it is in `SHARED`. It defines `NETWORK`; `head.py` builds the model around it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.errors import ProjectError

SHARED = {"__init__", "head"}


@dataclass(frozen=True)
class Network:
    """What the file of a network says of it. Functions import Keras themselves, so that the names are known without it.

    Attributes:
        smallest_side: side in pixels of the smallest square image that it can be built for.
        trunk: a function from a Keras tensor, float32 [n, side, side, 3], to its features, [n, features].
        application: in place of `trunk`, a constructor of Keras Applications, which has ImageNet weights.
        preprocess: that constructor's own input scaling, from grey values in 0 to 255.
        weight_file: the name of its ImageNet weights in a folder of weight files.
        dropout: share of the hidden layer that is dropped in training.
    """

    smallest_side: int
    trunk: Callable[[Any], Any] | None = None
    application: Callable[..., Any] | None = None
    preprocess: Callable[[Any], Any] | None = None
    weight_file: str | None = None
    dropout: float = 0.0


def names() -> list[str]:
    """Every network that has a file here, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in SHARED)


def get(name: str) -> Network:
    """The network of that name.

    Raises:
        ProjectError: it has no file here.
    """
    if name not in names():
        raise ProjectError(f"unknown network {name!r}; known: {', '.join(names())}")
    return import_module(f"{__name__}.{name}").NETWORK


def weight_file(name: str) -> Path | None:
    """The file of a network's ImageNet weights in the folder that CXR_WEIGHTS names; None without such a folder.

    Raises:
        ProjectError: the folder lacks the file.
    """
    folder, file = os.environ.get("CXR_WEIGHTS"), get(name).weight_file
    if not folder or not file:
        return None
    path = Path(folder) / file
    if not path.is_file():
        raise ProjectError(
            f"CXR_WEIGHTS has no {file}: {folder}; unset it to let Keras download, or set weights: random"
        )
    return path
