"""Small CSV tables as lists of dictionaries: what the stages hand each other."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ProjectError
from pipeline.files import atomic_file


def read_table(path: Path) -> list[dict[str, str]]:
    """Every row of a CSV file with a header.

    Raises:
        ProjectError: the file is not there.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    except FileNotFoundError:
        raise ProjectError(f"{path} is missing; run `make repro` (or `make restore` for the last good one)") from None


def write_table(path: Path, columns: list[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows atomically with exactly these columns, in this order."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
