"""One row for each picture: what it is, whose it is, and whether it can be used."""

import csv
import itertools
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from pipeline.files import atomic_file, sha256_of

BATCH = 512  # pictures in flight: memory does not grow with the set
MAX_BYTES = 64 * 2**20
END_OF_JPEG = b"\xff\xd9"

_NORMAL = re.compile(r"((?:NORMAL\d*-)?IM-\d+)-\d+(?:-\d+)*")
_PNEUMONIA = re.compile(r"(person\d+_(bacteria|virus))_\d+(?:_\d+)*")
_SUBTYPES = {"bacteria": "bacterial", "virus": "viral"}


@dataclass(frozen=True)
class Row:
    """One usable picture. `path` is relative to data/raw; `width` and `height` in pixels, `bytes` of the file."""

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


@dataclass(frozen=True)
class Unusable:
    """One quarantined picture and why."""

    path: str
    reason: str


COLUMNS = [field.name for field in fields(Row)]


def patient_of(name: str) -> tuple[str, str]:
    """Patient key and subtype of a file name, without the split.

    `IM-0115-0001.jpeg` is (`IM-0115`, normal), `person23_bacteria_87.jpeg` is (`person23_bacteria`, bacterial): bacterial and
    viral numbers are two counters. Any other name is a patient of its own, of subtype `unknown`.
    """
    stem = name.rsplit(".", 1)[0]
    if match := _NORMAL.fullmatch(stem):
        return match[1], "normal"
    if match := _PNEUMONIA.fullmatch(stem):
        return match[1], _SUBTYPES[match[2]]
    return stem, "unknown"


def inspect(raw: Path, path: str, min_side: int, max_pixels: int) -> Row | Unusable:
    """Read one picture: its header first, then all of its pixels, which are thrown away."""
    file = raw / path
    size = file.stat().st_size
    if size == 0:
        return Unusable(path, "zero bytes")
    if size > MAX_BYTES:
        return Unusable(path, f"absurd size: {size} bytes")
    try:
        with warnings.catch_warnings(), Image.open(file) as picture:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            width, height = picture.size
            if picture.format != "JPEG":
                return Unusable(path, f"not a JPEG picture: holds {picture.format}")
            if width * height > max_pixels or min(width, height) < min_side:
                return Unusable(path, f"absurd size: {width}x{height} pixels")
            mode = picture.mode
            picture.load()
    except Image.DecompressionBombError:
        return Unusable(path, "absurd size: far too many pixels")
    except UnidentifiedImageError:
        return Unusable(path, "not a picture")
    except (OSError, ValueError, SyntaxError) as error:
        reason = "truncated" if "truncated" in str(error) else "not decodable"
        return Unusable(path, reason)
    if not _ends(file, size):
        return Unusable(path, "truncated")
    split, label, name = path.split("/")
    patient, subtype = patient_of(name)
    return Row(path, split, label, subtype, patient, width, height, mode, size, sha256_of(file))


def _ends(file: Path, size: int) -> bool:
    """Whether the end mark of a JPEG stands near the end: a download cut short and filled up with zeros decodes."""
    with file.open("rb") as stream:
        stream.seek(max(0, size - 4096))
        return END_OF_JPEG in stream.read()


def inspect_all(raw: Path, names: Iterable[str], min_side: int, max_pixels: int) -> Iterator[Row | Unusable]:
    """`inspect` each path on all cores, in order; decoding and hashing leave Python's lock alone."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        names = iter(names)
        while batch := list(itertools.islice(names, BATCH)):
            yield from pool.map(lambda path: inspect(raw, path, min_side, max_pixels), batch)


def list_pictures(raw: Path) -> list[str]:
    """Paths of all files below data/raw, sorted."""
    return sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file())


def build(raw: Path, manifest: Path, quarantine: Path, min_side: int, max_pixels: int) -> None:
    """Write the manifest and the quarantine list of all pictures below `raw`, sorted by path.

    Patients who share a byte-identical picture are one patient, under the smallest of their keys.
    """
    names = list_pictures(raw)
    found = tqdm(inspect_all(raw, names, min_side, max_pixels), "validate", len(names), unit="picture", disable=None)
    with atomic_file(manifest) as kept, atomic_file(quarantine) as refused:
        patients = _Patients()
        draft = kept.with_suffix(".draft.tmp")
        try:
            with (
                draft.open("w", newline="", encoding="utf-8") as good,
                refused.open("w", newline="", encoding="utf-8") as bad,
            ):
                rows, faults = _writer(good, COLUMNS), _writer(bad, ["path", "reason"])
                for result in found:
                    if isinstance(result, Row):
                        patients.add(result.sha256, result.patient)
                        rows.writerow(asdict(result))
                    else:
                        faults.writerow(asdict(result))
            with (
                draft.open(newline="", encoding="utf-8") as source,
                kept.open("w", newline="", encoding="utf-8") as target,
            ):
                rows = _writer(target, COLUMNS)
                for row in csv.DictReader(source):
                    rows.writerow(row | {"patient": patients.key(row["patient"])})
        finally:
            draft.unlink(missing_ok=True)


def _writer(stream, columns: list[str]) -> csv.DictWriter:  # type: ignore[no-untyped-def, type-arg]
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    return writer


class _Patients:
    """Patients joined by shared pictures (union-find; the smallest key stands for all)."""

    def __init__(self) -> None:
        self._first: dict[bytes, str] = {}  # content -> the patient it was first seen with
        self._parent: dict[str, str] = {}  # only patients that were joined to a smaller key

    def add(self, sha256: str, patient: str) -> None:
        """Note that `patient` has the picture; whoever had it before is the same person."""
        other = self.key(self._first.setdefault(bytes.fromhex(sha256), patient))
        mine = self.key(patient)
        if mine != other:
            self._parent[max(mine, other)] = min(mine, other)

    def key(self, patient: str) -> str:
        """The smallest key of the person."""
        while patient in self._parent:
            patient = self._parent[patient]
        return patient
