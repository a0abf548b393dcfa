"""Where results on images of somebody's own lie: where git ignores them, unless they are named to be kept."""

import re
from pathlib import Path

from pipeline import paths
from pipeline.errors import ProjectError


def name_of(source: Path, name: str | None) -> str:
    """The name that a person gave, or one made of the folder's.

    Raises:
        ProjectError: the given name holds anything but letters, digits, `_` and `-`.
    """
    if name is None:
        return re.sub(r"[^A-Za-z0-9_-]+", "-", source.resolve().name).strip("-") or "images"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ProjectError(f"NAME: {name!r} may hold letters, digits, _ and - alone")
    return name


def metrics(kind: str, source: Path, name: str | None) -> Path:
    """The JSON file: metrics/<kind>/<name>.json where `name` is given, to be kept, else reports/<kind>/<folder>.json."""
    folder = paths.REPORTS if name is None else paths.METRICS
    return folder / kind / f"{name_of(source, name)}.json"


def table(kind: str, source: Path, name: str | None) -> Path:
    """The table of every image, which is never kept: reports/<kind>/<name>.csv."""
    return paths.REPORTS / kind / f"{name_of(source, name)}.csv"
