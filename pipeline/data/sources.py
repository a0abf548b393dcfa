"""The images in data/raw: bringing them there, listing them, saying which set it is."""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from pipeline.data.parallel import in_order
from pipeline.files import sha256_of

FORMATS = {".jpeg": "JPEG", ".jpg": "JPEG", ".png": "PNG"}  # what a file of each suffix must be
PUBLISHED = {  # images in the data set as published
    "train/NORMAL": 1341,
    "train/PNEUMONIA": 3875,
    "val/NORMAL": 8,
    "val/PNEUMONIA": 8,
    "test/NORMAL": 234,
    "test/PNEUMONIA": 390,
}
AUTHORS = {  # in the authors' own archive, which has no val: its 16 images are in train
    "train/NORMAL": 1349,
    "train/PNEUMONIA": 3883,
    "test/NORMAL": 234,
    "test/PNEUMONIA": 390,
}


def is_image(name: str) -> bool:
    """Whether a file name is one of an image; .DS_Store and what macOS adds (._name) are not."""
    return not name.startswith(".") and Path(name).suffix.lower() in FORMATS


def take(images: Mapping[str, Path], target: Path, link: bool) -> None:
    """Bring every image to its path below `target`: as hard links where asked for and possible, else as copies."""
    for folder in {path.rpartition("/")[0] for path in images}:
        (target / folder).mkdir(parents=True)
    for path, file in tqdm(images.items(), "images", unit="image", disable=None):
        _bring(file, target / path, link)


def _bring(source: Path, target: Path, link: bool) -> None:
    if link:
        try:
            os.link(source, target, follow_symlinks=False)
            return
        except OSError:  # another file system, or one without links
            pass
    descriptor = os.open(
        source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    )  # it may have become a link since it was listed
    with os.fdopen(descriptor, "rb") as original:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(source))
        with target.open("xb") as copy:
            shutil.copyfileobj(original, copy)


def image_paths(raw: Path) -> Iterator[str]:
    """Paths of all images below data/raw, <split>/<label>/<name>, sorted; one folder at a time in memory."""
    for split in _names(raw):
        for label in _names(raw / split):
            yield from (f"{split}/{label}/{name}" for name in _names(raw / split / label))


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def describe(raw: Path, dataset: str) -> dict[str, Any]:
    """What data/dataset.json says: dataset, edition, images, bytes, digest.

    The digest is the SHA-256 of the sorted lines "sha256  path". The edition of the real set is "224px" when every
    readable image is 224x224, else "original".
    """
    lines: list[str] = []
    size, small = 0, True
    total = sum(1 for _ in image_paths(raw))
    facts = in_order(lambda path: (path, *_facts(raw / path)), image_paths(raw), total, "digest")
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
    except Exception:  # noqa: BLE001 - Pillow raises many kinds; the manifest says why the image is unusable
        sides = None
    return sha256_of(path), path.stat().st_size, sides
