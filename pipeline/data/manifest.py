"""One row for each image: what it is, whose it is, and whether it can be used."""

import csv
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from pipeline.data.parallel import in_order
from pipeline.data.patients import Persons, patient_of
from pipeline.data.sources import FORMATS, image_paths
from pipeline.data.tables import write_table
from pipeline.files import sha256_of
from pipeline.labels import NORMAL

MAX_BYTES = 64 * 2**20
TAIL = 4096  # bytes in which the end mark of a JPEG is looked for; some writers add a few bytes after it
END_MARK = b"\xff\xd9"


@dataclass(frozen=True)
class Row:
    """One usable image. `path` is relative to data/raw; `width` and `height` in pixels, `bytes` of the file."""

    path: str
    split: str
    label: str
    subtype: str
    patient: str
    width: int
    height: int
    mode: str
    bytes: int
    sha256: str


COLUMNS = [field.name for field in fields(Row)]


class Unusable(Exception):
    """Why an image goes to quarantine."""


def inspect(raw: Path, path: str, min_side: int, max_pixels: int) -> Row:
    """Read one image: its size in bytes, its header, then all of its pixels, which are thrown away.

    Raises:
        Unusable: zero bytes, absurd size, not an image or not of its suffix, truncated, or not decodable.
    """
    file = raw / path
    size = file.stat().st_size
    if size == 0:
        raise Unusable("zero bytes")
    if size > MAX_BYTES:
        raise Unusable(f"absurd size: {size} bytes")
    width, height, mode = _decode(file, min_side, max_pixels)
    if _expected_format(file) == "JPEG" and not _is_complete(file, size):
        raise Unusable("truncated: no end mark")
    split, label, name = path.split("/")
    patient, subtype = patient_of(name)
    return Row(path, split, label, subtype, patient, width, height, mode, size, sha256_of(file))


def _decode(file: Path, min_side: int, max_pixels: int) -> tuple[int, int, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large and of odd images: both are judged here
            with Image.open(file) as image:
                width, height = image.size
                expected = _expected_format(file)
                if image.format != expected:
                    raise Unusable(f"not a {expected} image: {image.format} behind the name")
                if width * height > max_pixels or min(width, height) < min_side:
                    raise Unusable(f"absurd size: {width}x{height} pixels")
                image.load()
                return width, height, image.mode
    except (Unusable, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise Unusable("absurd size: too many pixels to open") from None
    except UnidentifiedImageError:
        raise Unusable("not an image") from None
    except Exception as error:  # Pillow's decoders raise many kinds, struct.error and SyntaxError among them
        if isinstance(error, OSError) and error.errno:
            raise  # the disk failed, not the image
        kind = "truncated" if "truncated" in str(error) else "not decodable"
        raise Unusable(f"{kind}: {' '.join(str(error).split())}") from None


def _expected_format(file: Path) -> str:
    return FORMATS.get(file.suffix.lower(), "JPEG")


def _is_complete(file: Path, size: int) -> bool:
    """Whether a JPEG has its end mark: one cut short and filled up with zeros decodes without complaint."""
    with file.open("rb") as stream:
        stream.seek(max(0, size - TAIL))
        return END_MARK in stream.read()


def build(
    raw: Path, manifest: Path, quarantine: Path, min_side: int, max_pixels: int, *, by_folder: bool = False
) -> None:
    """Write the manifest and the quarantine list (path, reason) of all images below `raw`, both sorted by path.

    Patients who share a byte-identical image are one patient, under the smallest of their keys. With `by_folder` an
    image in NORMAL whose name tells no subtype is `normal`: names of one's own need not tell it.
    """
    persons = Persons()
    refused: list[dict[str, str]] = []

    def judge(path: str) -> Row | dict[str, str]:
        try:
            row = inspect(raw, path, min_side, max_pixels)
            unnamed = by_folder and (row.label, row.subtype) == (NORMAL, "unknown")
            return replace(row, subtype="normal") if unnamed else row
        except Unusable as reason:
            return {"path": path, "reason": str(reason)}

    # Who is whose copy is known only at the end: rows wait in a nameless file, not in memory.
    with tempfile.TemporaryFile("w+", newline="", encoding="utf-8") as draft:
        writer = csv.DictWriter(draft, COLUMNS)
        writer.writeheader()
        total = sum(1 for _ in image_paths(raw))
        for result in in_order(judge, image_paths(raw), total, "validate"):
            if isinstance(result, Row):
                persons.add(result.sha256, result.patient)
                writer.writerow(asdict(result))
            else:
                refused.append(result)
        draft.seek(0)
        write_table(quarantine, ["path", "reason"], refused)
        write_table(manifest, COLUMNS, _merged(csv.DictReader(draft), persons))


def _merged(rows: csv.DictReader, persons: Persons) -> Iterator[Mapping[str, Any]]:  # type: ignore[type-arg]
    for row in rows:
        yield row | {"patient": persons.key(row["patient"])}
