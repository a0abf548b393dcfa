"""Where pictures come from: a folder in the Kaggle layout, Kaggle itself, and which files count as pictures."""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from pipeline.errors import ProjectError
from pipeline.files import sha256_of

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
LABELS = ("NORMAL", "PNEUMONIA")
SUFFIXES = (".jpeg", ".jpg")
LEFT_BEHIND = ("__MACOSX", ".DS_Store")
PUBLISHED = {  # pictures in the data set as published
    "train/NORMAL": 1341,
    "train/PNEUMONIA": 3875,
    "val/NORMAL": 8,
    "val/PNEUMONIA": 8,
    "test/NORMAL": 234,
    "test/PNEUMONIA": 390,
}
LAYOUT = "train, val and test, each with NORMAL and PNEUMONIA; or NORMAL and PNEUMONIA alone"


def find_tree(folder: Path) -> dict[str, Path]:
    """Class folders of a copy of the data set: {"train/NORMAL": path, ...}; read-only.

    The tree may lie in `folder`, or one or two levels of `chest_xray` below it, as in Kaggle's archive; the
    outermost one counts. A folder with NORMAL and PNEUMONIA but no splits counts as `train`.

    Raises:
        ProjectError: `folder` is no folder, holds no such tree, or a class of a split is missing or empty.
    """
    if not folder.is_dir():
        raise ProjectError(f"{folder} is no folder; expected {LAYOUT}")
    for root in (folder, folder / "chest_xray", folder / "chest_xray" / "chest_xray"):
        splits = {split: root / split for split in SPLITS if (root / split).is_dir()}
        if not splits and any((root / label).is_dir() for label in LABELS):
            splits = {"train": root}
        if splits:
            break
    else:
        raise ProjectError(f"{folder} holds no data set; expected {LAYOUT}")
    classes = {f"{split}/{label}": place / label for split, place in splits.items() for label in LABELS}
    for place in classes.values():
        if not place.is_dir():
            raise ProjectError(f"{place} is missing; expected {LAYOUT}")
        if next(picture_names(place), None) is None:
            raise ProjectError(f"{place} holds no picture (*.jpeg)")
    return classes


def picture_names(folder: Path) -> Iterator[str]:
    """Names of the files of a class folder that are taken along."""
    with os.scandir(folder) as entries:
        for entry in entries:
            hidden = entry.name.startswith(".") or entry.name in LEFT_BEHIND
            if not hidden and entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                yield entry.name


def take(classes: dict[str, Path], target: Path, link: bool) -> None:
    """Bring every picture of `classes` to `target`/<split>/<label>: hard links where `link` and possible, else copies."""
    names = {part: sorted(picture_names(place)) for part, place in classes.items()}
    with tqdm(total=sum(map(len, names.values())), desc="ingest", unit="picture", disable=None) as bar:
        for part, place in classes.items():
            (target / part).mkdir(parents=True)
            for name in names[part]:
                _bring(place / name, target / part / name, link)
                bar.update()


def _bring(source: Path, target: Path, link: bool) -> None:
    if link:
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(source, target)


def describe(raw: Path, dataset: str) -> dict[str, str | int]:
    """What data/dataset.json says of a folder of pictures: data set, edition, pictures, bytes, digest.

    The digest is the SHA-256 of the sorted lines "sha256  path"; the edition of a real set is "224px" when every
    readable picture is 224x224, else "original".
    """
    files = sorted(path for path in raw.rglob("*") if path.is_file())
    lines, size, small = [], 0, True
    for path in tqdm(files, desc="digest", unit="picture", disable=None):
        lines.append(f"{sha256_of(path)}  {path.relative_to(raw).as_posix()}\n")
        size += path.stat().st_size
        small = small and _is_224px(path)
    digest = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    edition = "phantom" if dataset == "phantom" else "224px" if small else "original"
    return {"dataset": dataset, "edition": edition, "pictures": len(files), "bytes": size, "digest": digest}


def _is_224px(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return picture.size == (224, 224)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return True  # unreadable: the manifest quarantines it, it says nothing of the edition
