"""Draw what the data are before any network: the study's figures 1 to 5, sizes, and grey values."""

import csv
import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths, settings
from pipeline.command import run
from pipeline.data.imaging import read_pixels
from pipeline.data.parallel import in_order
from pipeline.data.summary import Counts, Moments
from pipeline.data.tables import write_table
from pipeline.errors import ProjectError
from pipeline.evaluation import published
from pipeline.figures import canvas
from pipeline.figures import exploration as figures
from pipeline.files import atomic_folder, read_json
from pipeline.labels import CLASSES, SPLITS

LOOKED_AT = ("train", "val")  # single pixels of the official test set are not explored
Row = dict[str, str]

LOGARITHMIC = ("width (pixels)", "height (pixels)", "bytes of the file")
OF_FILE = {
    "width (pixels)": (np.geomspace(64, 16384, 97), lambda row: float(row["width"])),
    "height (pixels)": (np.geomspace(64, 16384, 97), lambda row: float(row["height"])),
    "width / height": (np.linspace(0.2, 4, 153), lambda row: float(row["width"]) / float(row["height"])),
    "bytes of the file": (np.geomspace(256, 2**26, 257), lambda row: float(row["bytes"])),
}
OF_PIXELS = {
    "mean grey value": (np.linspace(0, 256, 65), lambda image: float(image.mean())),
    "standard deviation of grey values": (np.linspace(0, 128, 65), lambda image: float(image.std())),
    "share of black pixels (0 to 3)": (np.linspace(0, 1, 51), lambda image: float((image <= 3).mean())),
}


def main() -> None:
    """Write plots/exploration/ (no single patient) and reports/figures/samples_*.png (single images, outside git)."""
    options = settings.load()
    dataset = read_json(paths.DATASET)["dataset"]
    side = options.preprocess.image_size
    with atomic_folder(paths.PLOTS / "exploration") as folder:
        _draw_counts(folder, dataset)
        _draw_pixels(folder, dataset, side)
    _draw_samples(options.explore.samples, options.explore.seed, dataset, side)


def _rows(*splits: str) -> Iterator[Row]:
    """Rows of the manifest, one at a time."""
    try:
        with paths.MANIFEST.open(newline="", encoding="utf-8") as stream:
            yield from (row for row in csv.DictReader(stream) if row["split"] in splits)
    except FileNotFoundError:
        raise ProjectError(f"{paths.MANIFEST} is missing; run `make repro`, or `make restore`") from None


def _draw_counts(folder: Path, dataset: str) -> None:
    """Figure 1 and its numbers, and the sizes of the files."""
    images: Counter[tuple[str, str]] = Counter()
    patients: defaultdict[tuple[str, str], set[bytes]] = defaultdict(set)
    sizes = _empty(OF_FILE)
    for row in _rows(*SPLITS):
        key = (row["split"], row["subtype"])
        images[key] += 1
        patients[key].add(hashlib.blake2b(row["patient"].encode(), digest_size=8).digest())
        if row["split"] in LOOKED_AT:
            _count(sizes, OF_FILE, row["label"], row)
    order = sorted(images, key=lambda key: (SPLITS.index(key[0]), key[1]))
    heads = {key: len(patients[key]) for key in order}
    write_table(
        folder / "counts.csv",
        ["split", "subtype", "pictures", "patients"],
        ({"split": key[0], "subtype": key[1], "pictures": images[key], "patients": heads[key]} for key in order),
    )
    canvas.save(
        figures.class_distribution({key: images[key] for key in order}, heads),
        folder / "classes.svg",
        "Class distribution by official split",
        dataset,
        _imbalance(images, dataset),
    )
    note = "Development images (official train and val) as they are stored, before any resizing."
    title = "What the files say of the class, without a look at a lung"
    canvas.save(figures.distributions(sizes, LOGARITHMIC), folder / "sizes.svg", title, dataset, note)


def _imbalance(images: Counter[tuple[str, str]], dataset: str) -> str:
    normal = images["train", "normal"]
    ill = sum(count for (split, subtype), count in images.items() if split == "train" and subtype != "normal")
    if not normal:
        raise ProjectError("the manifest has no normal image in train; run validate first")
    ratio = f"Pneumonia to normal in train: {ill} / {normal} = {ill / normal:.3f}."
    return f"{ratio} The study: {figures.STUDY_IMBALANCE}." if dataset == published.DATASET else ratio


def _draw_pixels(folder: Path, dataset: str, side: int) -> None:
    """Figures 3 to 5 and the grey values, in one pass over the development images."""
    moments = {label: Moments(side) for label in CLASSES}
    intensities = _empty(OF_PIXELS)

    def read(row: Row) -> tuple[str, np.ndarray]:
        return row["label"], read_pixels(paths.RAW / row["path"], side)

    total = sum(1 for _ in _rows(*LOOKED_AT))
    for label, image in in_order(read, _rows(*LOOKED_AT), total, "explore"):
        moments[label].add(image)
        _count(intensities, OF_PIXELS, label, image)
    empty = [label for label, moment in moments.items() if not moment.count]
    if empty:
        raise ProjectError(f"the manifest has no {empty[0]} image in train or val")
    means = {label: moment.mean for label, moment in moments.items()}
    deviations = {label: moment.deviation() for label, moment in moments.items()}
    counts = ", ".join(f"{moments[label].count} {figures.NAMES[label]}" for label in CLASSES)
    note = f"Development images (official train and val): {counts}, at {side} x {side} pixels."
    grey = "grey value (0 to 255)"
    largest = max(float(image.max()) for image in deviations.values())
    for name, figure, title in (
        ("means", figures.class_images(means, grey, 255), "Mean image of each class"),
        (
            "difference",
            figures.difference(*(means[label] for label in CLASSES)),
            "Mean normal image minus mean pneumonia image",
        ),
        (
            "deviations",
            figures.class_images(deviations, "standard deviation (grey values)", largest),
            "Standard deviation of each class",
        ),
        ("intensities", figures.distributions(intensities, ()), "Grey values of single images"),
    ):
        canvas.save(figure, folder / f"{name}.svg", title, dataset, note)


def _draw_samples(samples: int, seed: int, dataset: str, side: int) -> None:
    """Figure 2: as many images of each class as `samples` says, drawn by a seeded hash of their paths."""
    for label in CLASSES:
        paths_of_class = (row["path"] for row in _rows(*LOOKED_AT) if row["label"] == label)
        chosen = heapq.nsmallest(
            samples, paths_of_class, key=lambda path: hashlib.sha256(f"{seed} {path}".encode()).digest()
        )
        images = [read_pixels(paths.RAW / path, side) for path in chosen]
        name = figures.NAMES[label]
        canvas.save(
            figures.sample_sheet(images, [Path(path).stem for path in chosen]),
            paths.REPORTS / "figures" / f"samples_{name}.png",
            f"{len(chosen)} random {name} images",
            dataset,
            f"Development images at {side} x {side} pixels, as the networks see them.",
        )


def _empty(quantities: dict[str, Any]) -> dict[str, dict[str, Counts]]:
    return {name: {label: Counts(edges) for label in CLASSES} for name, (edges, _) in quantities.items()}


def _count(counts: dict[str, dict[str, Counts]], quantities: dict[str, Any], label: str, thing: Any) -> None:
    for name, (_, value) in quantities.items():
        counts[name][label].add(value(thing))


if __name__ == "__main__":
    run("explore", main)
