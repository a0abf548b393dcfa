"""What stage `explain` draws of one run: maps over radiographs, the gallery of its errors, and the checks of its maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.data.tables import write_table
from pipeline.evaluation import calibration
from pipeline.explain import check_results, saliency_plots, selection
from pipeline.explain.saliency_checks import Row, Subject
from pipeline.explain.saliency_plots import SaliencyExample
from pipeline.figures import canvas

SHEET = 24
AS_TRAINED = "Probability as trained, before recalibration."
GALLERY = ["file", "path", "patient", "subtype", "probability"]
GALLERY_SIDE = 256  # pixels of each half of a gallery image


def pair(folder: Path, subject: Subject, rows: Sequence[int], layer: str, study_maps: np.ndarray) -> None:
    """The study's figure 13, and beside ours its own formula on `layer`: maps float [rows, h, w]."""
    maps = subject.parts["test"].maps
    examples = [_example(subject, row) for row in rows]
    figure = saliency_plots.pairs(examples, subject.largest, f"the study's formula\n{layer}", study_maps)
    note = f"{AS_TRAINED} {saliency_plots.scale_note(maps, subject.largest)}"
    note += f" The study's formula weighs and sums the channels of {layer}, each image on a scale of its own, without a bar."
    canvas.save(figure, folder / "maps.png", f"Class activation maps of {subject.name}", subject.facts["dataset"], note)


def sheet(folder: Path, subject: Subject) -> None:
    """Twenty-four test images: right and wrong ones furthest from the threshold, and others nearest to it."""
    part = subject.parts["test"]
    chosen = selection.notable(part.split.labels, part.logits, subject.plain, SHEET // 3)
    groups = {name: [_example(subject, row) for row in rows] for name, rows in chosen.items()}
    title = f"{subject.name} on the official test set: {'; '.join(groups)}"
    note = f"{AS_TRAINED} {saliency_plots.scale_note(part.maps, subject.largest)}"
    canvas.save(
        saliency_plots.sheet(groups, subject.largest), folder / "sheet.png", title, subject.facts["dataset"], note
    )


def gallery(folder: Path, subject: Subject) -> None:
    """Every test image called wrongly at the plain threshold, beside its map, worst first; and a table of them."""
    part = subject.parts["test"]
    distance = np.abs(part.logits - subject.plain)
    wrong = np.flatnonzero((part.logits >= subject.plain) != part.split.labels)
    folder.mkdir()
    table = []
    for place, row in enumerate(wrong[np.argsort(-distance[wrong], kind="stable")]):
        name = f"{place:03}.jpeg"
        _beside(part.pixels[row], part.maps[row], subject.largest).save(folder / name, quality=82)
        facts = {
            "path": part.split.paths[row],
            "patient": part.split.patients[row],
            "subtype": part.split.subtypes[row],
        }
        probability = round(float(calibration.sigmoid(part.logits[row])), 4)
        table.append({"file": name, **facts, "probability": probability})
    write_table(folder / "gallery.csv", GALLERY, table)


def draw_checks(folder: Path, subject: Subject, tables: Mapping[str, Sequence[Row]], judged: Mapping[str, Row]) -> None:
    """The checks' curves, each with what was asked, what was found, and the verdict."""
    dataset = subject.facts["dataset"]

    def save(name: str, figure: Any, title: str, note: str) -> None:
        canvas.save(figure, folder / f"{name}.svg", f"{subject.name}: {title}", dataset, note)

    def verdict(check: str) -> str:
        return f"{'Passes' if judged[check]['passes'] else 'FAILS'}. {check_results.sentence(judged[check])}"

    rows = tables["randomisation"]
    validation = subject.parts["validation"]
    whose = "called pneumonia" if (validation.logits >= subject.plain).any() else "(none is called pneumonia)"
    of = f"{rows[0]['pictures']} validation images {whose}, {rows[0]['draws']} draws of random weights."
    note = f"{verdict('randomisation')} {of} {saliency_plots.grid_note(validation.maps)}"
    save("randomisation", saliency_plots.cascade(rows, check_results.UNRELATED), "maps under random weights", note)
    save("border", saliency_plots.borders(tables["border"]), "does it read the frame?", verdict("border"))
    threshold = f"{float(calibration.sigmoid(np.float64(subject.plain))):g}"
    note = f"Bars: 95 % bootstrap by patient within class. PNEUMONIA is called from a probability of {threshold}."
    save("stress", saliency_plots.stress(tables["stress"], "plain"), "changed images", note)


def _beside(image: np.ndarray, evidence: np.ndarray, largest: float) -> Image.Image:
    side = (GALLERY_SIDE, GALLERY_SIDE)
    large = np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BILINEAR))
    plain = np.repeat(large[..., None], 3, axis=2)
    return Image.fromarray(np.concatenate([plain, saliency_plots.overlay(large, evidence, largest)], axis=1))


def _example(subject: Subject, row: int) -> SaliencyExample:
    part = subject.parts["test"]
    who = f"{part.split.subtypes[row]}, {part.split.patients[row]}"
    probability = float(calibration.sigmoid(part.logits[row]))
    return SaliencyExample(part.pixels[row], part.maps[row], f"{who}\nprobability {probability:.3f}")
