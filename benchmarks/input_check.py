"""Whom the input check rejects: every set and every kind of made-up negative, before and after.

    python -m benchmarks.input_check BEFORE AFTER [--unlabelled FOLDER] [--external FOLDER]

BEFORE and AFTER are folders of a champion or candidate (graph, guard, contract). FOLDER holds `chests.csv` or `labels.csv` with
a patient for each image. Images of patients are read from data/arrays and from the folders; the table holds counts alone. The
unlabelled set is halved by a hash of the patient: one half to choose by, one to report. benchmarks/input_check.csv is written.
"""

import argparse
import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline import paths, settings
from pipeline.command import run
from pipeline.data.imaging import read_pixels
from pipeline.data.tables import read_table, write_table
from pipeline.inference import Graph
from pipeline.input_check import fit, guard, ood_negatives, variations
from pipeline.registry import contract

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = [
    "set",
    "should_be",
    "images",
    "patients",
    "rejected_before",
    "rejected_after",
    "warned_after",
    "patients_rejected_after",
]
SEED = 7  # of varied and made-up images, that no fit has drawn
VARIED = 150  # validation images of each change
MADE_UP = 80  # of each kind
LEFT_OUT = 240  # of each kind that is left out of a fit


class Images(NamedTuple):
    """One set: what the check should do with it, pixels uint8 [n, side, side], and the patient of each image."""

    name: str
    should_be: str
    pixels: np.ndarray
    patients: list[str]


class Check:
    """One champion's graph and guard."""

    def __init__(self, folder: Path) -> None:
        self._guard = guard.load(folder / "guard.npz")
        self._graph = Graph(folder / "model.onnx")
        self._limit = float(self._guard["threshold"])

    def ask(self, pixels: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Which images are rejected, and which are answered with a warning: bool [n] each."""
        features = self._graph.answer(pixels, name).features if "unlike" in self._guard else None
        scores = guard.scores(self._guard, pixels, features)
        rejected = scores > self._limit
        return rejected, ~rejected & (scores > self._guard.get("unlike", self._limit))


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(prog="input_check", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--unlabelled", type=Path)
    parser.add_argument("--external", type=Path)
    chosen = parser.parse_args()
    before, after = Check(chosen.before), Check(chosen.after)
    side = contract.read(chosen.after)["input"]["shape"][1]
    rows = []
    for images in _sets(side, chosen.unlabelled, chosen.external):
        old, (new, warned) = before.ask(images.pixels, images.name)[0], after.ask(images.pixels, images.name)
        rows.append(_row(images, old, new, warned))
        print(rows[-1], flush=True)
    for kind, share in _left_out(chosen.after).items():
        name = f"made up, left out of the fit: {kind}"
        rows.append({"set": name, "should_be": "rejected", "images": LEFT_OUT, "rejected_after": round(1 - share, 4)})
    write_table(TABLE, COLUMNS, rows)


def _left_out(folder: Path) -> dict[str, float]:
    """Share of each kind that is accepted when it was left out of the fit, with more images than `package` asks about."""
    graph = Graph(folder / "model.onnx")

    def ask(pixels: np.ndarray, what: str) -> fit.Seen:
        return fit.seen(pixels, graph.answer(pixels, what).features)

    training, validation, patients = _development()
    seed = settings.load().evaluate.seed
    asked = fit.ask_negatives(validation, ask, seed, LEFT_OUT)
    material = fit.gather(training, ask, seed)
    return fit.left_out(material, fit.Validation(ask(validation, "validation"), np.array(patients)), asked)


def _development() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Training images and validation images, uint8 [n, side, side] each, and the patient of each validation image."""
    rows = read_table(paths.index("development"))
    held_out = [int(row["row"]) for row in read_table(paths.group("validation"))]
    pixels = np.load(paths.array("development"), mmap_mode="r")
    return np.delete(pixels, held_out, axis=0), pixels[held_out], [rows[row]["patient"] for row in held_out]


def _row(images: Images, old: np.ndarray, new: np.ndarray, warned: np.ndarray) -> dict[str, object]:
    patients = {patient for patient, rejected in zip(images.patients, new, strict=True) if rejected}
    return {
        "set": images.name,
        "should_be": images.should_be,
        "images": len(images.pixels),
        "patients": len(set(images.patients)),
        "rejected_before": round(float(old.mean()), 4),
        "rejected_after": round(float(new.mean()), 4),
        "warned_after": round(float(warned.mean()), 4),
        "patients_rejected_after": len(patients),
    }


def _sets(side: int, unlabelled: Path | None, external: Path | None) -> Iterator[Images]:
    _, validation, patients = _development()
    test_patients = [row["patient"] for row in read_table(paths.index("test"))]
    yield Images("validation", "accepted", validation, patients)
    yield Images("validation, central 80 %", "accepted", fit.central(validation), patients)
    yield Images("official test", "accepted", np.load(paths.array("test")), test_patients)
    if unlabelled:
        yield from _halves(side, unlabelled)
    if external:
        yield _external(side, external)
    random = np.random.default_rng(SEED)
    for name, change in variations.CHANGES.items():
        drawn = np.sort(random.permutation(len(validation))[:VARIED])
        pixels = np.stack([change(random, validation[place]) for place in drawn])
        yield Images(f"validation, {name}", "accepted", pixels, [patients[place] for place in drawn])
    for kind in ood_negatives.KINDS:
        pixels = ood_negatives.make(kind, MADE_UP, validation, SEED)
        yield Images(f"made up: {kind}", "rejected", pixels, [str(place) for place in range(MADE_UP)])


def _halves(side: int, folder: Path) -> Iterator[Images]:
    listed = _listed(folder / "chests.csv")
    for half, name in enumerate(("to choose by", "to report")):
        chosen = [row for row in listed if hashlib.sha256(row["patient"].encode()).digest()[0] % 2 == half]
        pixels = np.stack([read_pixels(folder / "chests" / row["file"], side) for row in chosen])
        yield Images(f"unlabelled adults, the half {name}", "accepted", pixels, [row["patient"] for row in chosen])


def _external(side: int, folder: Path) -> Images:
    listed = _listed(folder / "labels.csv")
    pixels = np.stack([read_pixels(folder / "pictures" / row["file"], side) for row in listed])
    return Images("external adults", "accepted", pixels, [row["patient"] for row in listed])


def _listed(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


if __name__ == "__main__":
    run("input_check", main)
