"""Networks that were trained: from a run's name to the network with its weights."""

from pathlib import Path
from typing import Any

import keras

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.files import read_json
from pipeline.learning.networks import head


def facts(run: str) -> dict[str, Any]:
    """What run.json says of a run.

    Raises:
        ProjectError: the run was never trained.
    """
    path = paths.predictions(run) / "run.json"
    return read_json(path, f"{run} was never trained (dvc repro train@{run})")


def load(run: str) -> keras.Model:
    """The network of a run with its trained weights; layers have the same names whatever was built before.

    Raises:
        ProjectError: the run was never trained, its weights are elsewhere, or they are those of another network.
    """
    known = facts(run)
    path = paths.network(run)
    if not path.is_file():
        raise ProjectError(f"{_short(path)} is not at hand: `dvc pull train@{run}`, or train it again")
    network = build(known)
    try:
        network.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise ProjectError(
            f"{_short(path)} holds no weights of {known['network']}: {str(error).splitlines()[0]}"
        ) from None
    return network


def build(known: dict[str, Any]) -> keras.Model:
    """The same network with random weights."""
    keras.utils.clear_session()  # layers without a name of their own are numbered from here
    return head.build(known["network"], known["image_size"], known["scaling"])


def _short(path: Path) -> str:
    return path.relative_to(paths.ROOT).as_posix()
