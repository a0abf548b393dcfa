"""Where the images of a data set lie in a folder that somebody brings: three layouts, told apart by folders and names."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.data import trees
from pipeline.data.brought_tables import cell
from pipeline.data.parallel import in_order
from pipeline.data.patients import Persons, is_authors_name, is_kaggle_name, names_patient, patient_of
from pipeline.data.sources import is_image
from pipeline.data.splits import TEST_PERCENT, held_out_patients
from pipeline.errors import ProjectError
from pipeline.files import sha256_of
from pipeline.labels import CLASSES, SPLITS

log = logging.getLogger(__name__)

PUBLIC, OWN = "chest-xray-pneumonia", "own-images"  # what data/dataset.json calls the set
DEPTH = 3  # folders between the one that is named and the one that holds the classes
LAYOUT = "expected train and test (and val), each with NORMAL and PNEUMONIA, or NORMAL and PNEUMONIA alone"


@dataclass(frozen=True)
class Found:
    """A data set in a folder: its layout in words, what it is called, its images, and how many belong to a named patient.

    `images` names the file of each path below data/raw, <split>/<label>/<name>.
    """

    layout: str
    dataset: str
    images: dict[str, Path]
    named: int

    def summary(self) -> str:
        """One line for a person: the layout, images of each class, and what is not known of patients."""
        counts = Counter(path.rpartition("/")[0] for path in self.images)
        told = ", ".join(f"{part} {counts[part]}" for part in sorted(counts, key=_place))
        unnamed = len(self.images) - self.named
        rest = (
            f"; {unnamed} names tell no patient: each of these images counts as a patient of its own" if unnamed else ""
        )
        return f"{self.layout}: {told}{rest}"


def find(folder: Path) -> Found:
    """The data set in `folder`, or up to three folders below it; of nested copies the outermost counts.

    Kaggle's layout has train, val and test; the authors' archive train and test; a flat folder NORMAL and PNEUMONIA alone:
    of its patients those whose hash falls in the lowest fifth are held out as test. Links and devices are not followed.

    Raises:
        ProjectError: `folder` is no folder, holds no such tree or several, a class is missing or has no image, or a flat
            folder has too few patients for a test set.
    """
    root = _root(folder)
    splits = [split for split in SPLITS if (root / split).is_dir()]
    if not splits:
        _say_left(_others(root, CLASSES))
        return _found("a flat folder", OWN, _held_out({label: _images_of(root / label) for label in CLASSES}))
    for split in ("train", "test"):
        if split not in splits:
            raise ProjectError(f"{root} has {' and '.join(splits)}, but no {split}; {LAYOUT}")
    _say_left([path for split in splits for path in _others(root / split, CLASSES)])
    parts = {f"{split}/{label}": _images_of(root / split / label) for split in splits for label in CLASSES}
    images = _by_target((part, path) for part, paths in parts.items() for path in paths)
    public = sum(is_kaggle_name(path.name) or is_authors_name(path.name) for path in images.values())
    layout = "Kaggle's layout" if "val" in splits else "the layout of the authors' archive (no val)"
    return _found(layout, PUBLIC if 2 * public > len(images) else OWN, images)


def _found(layout: str, dataset: str, images: dict[str, Path]) -> Found:
    named = sum(names_patient(path.name) for path in images.values())
    title = f"{layout} of one's own images" if dataset == OWN else layout
    held = f", {TEST_PERCENT} % of its patients held out as test" if layout == "a flat folder" else ""
    return Found(f"{title}{held}", dataset, images, named)


def _root(folder: Path) -> Path:
    """The outermost folder that holds the classes."""
    if not folder.is_dir():
        raise ProjectError(f"{folder} is no folder; {LAYOUT}")
    level = [folder]
    for _ in range(DEPTH + 1):
        roots = [path for path in level if _holds_classes(path)]
        if len(roots) > 1:
            raise ProjectError(f"{folder} holds several data sets: {', '.join(map(str, roots))}; name one of them")
        if roots:
            return roots[0]
        level = [child for path in level for child in _folders(path)]
    raise ProjectError(f"{folder} holds no data set; {LAYOUT}")


def _holds_classes(folder: Path) -> bool:
    places = [folder, *(folder / split for split in SPLITS)]
    return any(all((place / label).is_dir() for label in CLASSES) for place in places)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not trees.is_clutter(path.name) and trees.is_folder(path))
    except OSError:  # one that may not be opened
        return []


def _others(folder: Path, known: Iterable[str]) -> list[Path]:
    return [path for path in _folders(folder) if path.name not in known]


def _images_of(place: Path) -> list[Path]:
    """The image files of a class folder, by name; what else lies there is said."""
    for folder in (place.parent, place):
        if folder.is_symlink() and folder.name in (*SPLITS, *CLASSES):
            raise ProjectError(f"{folder} is a symbolic link, which is not followed; {LAYOUT}")
    if not place.is_dir():
        raise ProjectError(f"{place} is missing; {LAYOUT}")
    listed = sorted(place.iterdir())
    images = [path for path in listed if is_image(path.name) and trees.is_file(path)]
    if not images:
        raise ProjectError(f"{place} holds no image (*.jpeg, *.jpg or *.png)")
    _say_left([path for path in listed if not (is_image(path.name) and trees.is_file(path))])
    return images


def _say_left(left: list[Path]) -> None:
    if left:
        shown = ", ".join(cell(path.name) for path in left[:3])
        place = left[0].parent
        log.warning("%s: %d files left behind, no regular files named *.jpeg or *.png: %s", place, len(left), shown)


def _by_target(files: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """The files by their paths below data/raw, under names that every table and DVC can hold."""
    images: dict[str, Path] = {}
    for part, path in files:
        target = f"{part}/{cell(path.name)}"
        if target in images:
            raise ProjectError(f"{path.parent}: two names become {cell(path.name)!r} in a table: rename one")
        images[target] = path
    return images


def _held_out(classes: Mapping[str, list[Path]]) -> dict[str, Path]:
    """Each patient's images to train or to test; byte-identical images are one patient's."""
    persons = Persons()
    files = [path for paths in classes.values() for path in paths]
    for path, sha256 in zip(files, in_order(sha256_of, files, len(files), "patients"), strict=True):
        persons.add(sha256, _patient(path))
    patients = {label: {persons.key(_patient(path)) for path in paths} for label, paths in classes.items()}
    held_out = held_out_patients(patients.values())
    for label, files_of_patient in patients.items():
        if not files_of_patient & held_out or files_of_patient <= held_out:
            raise ProjectError(
                f"{classes[label][0].parent} holds {len(files_of_patient)} patients: too few to hold some out as a test set"
            )
    parts = [
        (f"{'test' if persons.key(_patient(path)) in held_out else 'train'}/{label}", path)
        for label, paths in classes.items()
        for path in paths
    ]
    return _by_target(parts)


def _patient(path: Path) -> str:
    return patient_of(cell(path.name))[0]


def _place(part: str) -> tuple[int, str]:
    split, label = part.split("/")
    return SPLITS.index(split), label
