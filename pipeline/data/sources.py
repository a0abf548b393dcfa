"""A folder in the layout of the data set: finding it, taking its pictures along, saying which set it is."""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from pipeline.data.parallel import in_order
from pipeline.errors import ProjectError
from pipeline.files import sha256_of

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
LABELS = ("NORMAL", "PNEUMONIA")
SUFFIXES = (".jpeg", ".jpg")
PUBLISHED = {  # pictures in the data set as published
    "train/NORMAL": 1341,
    "train/PNEUMONIA": 3875,
    "val/NORMAL": 8,
    "val/PNEUMONIA": 8,
    "test/NORMAL": 234,
    "test/PNEUMONIA": 390,
}
LAYOUT = "expected train, val and test, each with NORMAL and PNEUMONIA, or NORMAL and PNEUMONIA alone"


def find_classes(folder: Path) -> dict[str, Path]:
    """The class folders of a copy of the data set: {"train/NORMAL": path, ...}.

    The tree lies in `folder` or up to two levels of `chest_xray` below it, as in Kaggle's archive, which holds it
    twice: the outermost one counts. NORMAL and PNEUMONIA without splits count as `train`.

    Raises:
        ProjectError: `folder` is no folder, holds no such tree, or a class of a split is missing or empty.
    """
    if not folder.is_dir():
        raise ProjectError(f"{folder} is no folder; {LAYOUT}")
    for root in (folder, folder / "chest_xray", folder / "chest_xray" / "chest_xray"):
        splits = {split: root / split for split in SPLITS if (root / split).is_dir()}
        if not splits and any((root / label).is_dir() for label in LABELS):
            splits = {"train": root}
        if splits:
            break
    else:
        raise ProjectError(f"{folder} holds no data set; {LAYOUT}")
    classes = {f"{split}/{label}": place / label for split, place in splits.items() for label in LABELS}
    for place in classes.values():
        if not place.is_dir():
            raise ProjectError(f"{place} is missing; {LAYOUT}")
        if not any(map(is_picture, _names(place))):
            raise ProjectError(f"{place} holds no picture (*.jpeg)")
    return classes


def is_picture(name: str) -> bool:
    """Whether a file name is one of a picture; .DS_Store and what macOS adds (._name) are not."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def take(classes: dict[str, Path], target: Path, link: bool) -> None:
    """Bring every picture to `target`/<split>/<label>: as hard links where asked for and possible, else as copies."""
    for part, place in classes.items():
        (target / part).mkdir(parents=True)
        names = _names(place)
        left = [name for name in names if not is_picture(name)]
        if left:
            log.warning("%s: %d files left behind, not named *.jpeg: %s", part, len(left), ", ".join(left[:3]))
        for name in tqdm(filter(is_picture, names), part, len(names) - len(left), unit="picture", disable=None):
            _bring(place / name, target / part / name, link)


def _bring(source: Path, target: Path, link: bool) -> None:
    if link:
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(source, target)


def pictures(raw: Path) -> Iterator[str]:
    """Paths of all pictures below data/raw, <split>/<label>/<name>, sorted; one folder at a time in memory."""
    for split in _names(raw):
        for label in _names(raw / split):
            yield from (f"{split}/{label}/{name}" for name in _names(raw / split / label))


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def describe(raw: Path, dataset: str) -> dict[str, Any]:
    """What data/dataset.json says: dataset, edition, pictures, bytes, digest.

    The digest is the SHA-256 of the sorted lines "sha256  path". The edition of the real set is "224px" when every
    readable picture is 224x224, else "original".
    """
    lines: list[str] = []
    size, small = 0, True
    total = sum(1 for _ in pictures(raw))
    facts = in_order(lambda path: (path, *_facts(raw / path)), pictures(raw), total, "digest")
    for path, sha256, length, sides in facts:
        lines.append(f"{sha256}  {path}\n")
        size += length
        small = small and sides in (None, (224, 224))
    digest = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    edition = "phantom" if dataset == "phantom" else "224px" if small else "original"
    return {"dataset": dataset, "edition": edition, "pictures": total, "bytes": size, "digest": digest}


def _facts(path: Path) -> tuple[str, int, tuple[int, int] | None]:
    """Digest, bytes, and (width, height) in pixels; None where the header cannot be read."""
    try:
        with Image.open(path) as image:
            sides = image.size
    except Exception:  # noqa: BLE001 - Pillow raises many kinds; the manifest says why the picture is unusable
        sides = None
    return sha256_of(path), path.stat().st_size, sides
