"""The table of labels that a person brings with a folder of images: every line checked before anything is answered."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.data import brought_tables, trees
from pipeline.errors import ProjectError
from pipeline.external_validation.images import Image, of_file
from pipeline.labels import CLASSES, PNEUMONIA

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labelled:
    """One file with what its line says of it."""

    image: Image
    pneumonia: bool
    patient: str
    view: str
    sex: str = "unknown"
    age: float | None = None  # years


def read(source: Path, table: Path) -> list[Labelled]:
    """The files below `source` that the table names: columns file, label, patient; view, sex and age where known.

    Raises:
        ProjectError: as `brought_tables.read_brought`; a label is unknown, a patient is missing, or a file is missing, lies
            outside `source`, is reached by a link, or is named twice; it names the line.
    """
    if not source.is_dir():
        raise ProjectError(f"SOURCE: {source} is no folder")
    if not table.is_file():
        raise ProjectError(f"LABELS: {table} is no file; give a CSV with the columns file, label and patient")
    seen: dict[Path, int] = {}
    labelled = []
    for number, line in brought_tables.read_brought(table, ("file", "label", "patient")):
        where = f"{table.name}, line {number}"
        for column in ("file", "patient"):
            if not line[column]:
                raise ProjectError(f"{where}: no {column}")
        if line["label"] not in CLASSES:
            raise ProjectError(f"{where}: label {line['label']!r} is neither NORMAL nor PNEUMONIA")
        path = _file(source, line["file"], where)
        if path in seen:
            raise ProjectError(f"{where}: {line['file']} stands in line {seen[path]} already")
        seen[path] = number
        image = of_file(path, str(path.relative_to(source)))
        known = {column: line.get(column) or "unknown" for column in ("view", "sex")}
        labelled.append(Labelled(image, line["label"] == PNEUMONIA, line["patient"], **known, age=_age(line, where)))
    if not labelled:
        raise ProjectError(f"{table.name}: no line below the header")
    return labelled


def _age(line: Mapping[str, str], where: str) -> float | None:
    """Years, or None where the line does not say."""
    text = line.get("age") or ""
    if not text:
        return None
    try:
        years = float(text)
    except ValueError:
        years = float("nan")
    if not 0 <= years <= 130:
        raise ProjectError(f"{where}: age {text!r} is no number of years")
    return years


def _file(source: Path, name: str, where: str) -> Path:
    """The file of a line, whose name stands there as it is or as the project's tables write it."""
    written = brought_tables.name_of(name)
    if written != name and os.path.lexists(source / written) and not os.path.lexists(source / name):
        name = written
    try:
        return trees.inside(source, name)
    except trees.Unreadable as reason:
        raise ProjectError(f"{where}: {brought_tables.cell(name)} {reason}") from None
