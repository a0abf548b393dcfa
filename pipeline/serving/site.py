"""A hospital's own films through the champion: figures with intervals, refusals, calibration, a local threshold.

    python -m pipeline.serving.site SOURCE LABELS [NAME]

SOURCE is a folder of JPEG, PNG, TIFF or DICOM files. LABELS is a CSV with the columns `file` (relative to SOURCE),
`label` (NORMAL or PNEUMONIA), `patient`, and, if known, `view`. The figures go to metrics/site/NAME.json. Nothing leaves
the machine, and nothing is promoted.
"""

import asyncio
import csv
import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline import paths, settings
from pipeline.command import run
from pipeline.decoding.limits import Limits
from pipeline.errors import ProjectError
from pipeline.evaluation import calibration, metrics, operating, statistics
from pipeline.files import write_json
from pipeline.serving import guard, model, uploads
from pipeline.serving.problems import Problem

POINTS = ("sensitive", "specific")
LABELS = ("NORMAL", "PNEUMONIA")
STRANGER = "no_chest_radiograph"  # the guard's word
ALMOST = 1e-7  # probabilities are held inside (0, 1), where they have a logit


@dataclass(frozen=True)
class Film:
    """One labelled file, and what became of it: a probability, or the word of its refusal."""

    path: Path
    pneumonia: bool
    patient: str
    view: str
    probability: float | None = None
    refused: str | None = None


def read_labels(source: Path, table: Path) -> list[Film]:
    """The films that LABELS names.

    Raises:
        ProjectError: a file, a column or a value is missing or wrong; it names the line.
    """
    if not source.is_dir():
        raise ProjectError(f"SOURCE: {source} is no folder")
    if not table.is_file():
        raise ProjectError(f"LABELS: {table} is no file")
    with table.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = {"file", "label", "patient"} - set(reader.fieldnames or [])
        if missing:
            raise ProjectError(f"{table.name}: no column {', '.join(sorted(missing))}")
        films = []
        for number, row in enumerate(reader, start=2):
            path = source / row["file"]
            if row["label"] not in LABELS:
                raise ProjectError(
                    f"{table.name}, line {number}: label {row['label']!r} is neither NORMAL nor PNEUMONIA"
                )
            if not path.is_file():
                raise ProjectError(f"{table.name}, line {number}: {row['file']} is not in SOURCE")
            films.append(Film(path, row["label"] == "PNEUMONIA", row["patient"], row.get("view") or "unknown"))
    if not films:
        raise ProjectError(f"{table.name}: no line")
    return films


def word(name: str) -> str:
    """NAME, which names a file.

    Raises:
        ProjectError: it holds anything but letters, digits, `_` and `-`.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ProjectError(f"NAME: {name!r} may hold letters, digits, _ and - alone")
    return name


async def ask(champion: model.Model, films: Sequence[Film], limits: Limits) -> list[Film]:
    """Send every film the way that an upload goes: decoding, guard, network."""
    answered = []
    for film in tqdm(films, desc="films", unit="film", disable=len(films) < 100):
        fields = {"path": film.path, "pneumonia": film.pneumonia, "patient": film.patient, "view": film.view}
        try:
            pixels = uploads.read(film.path.read_bytes(), champion.side, limits).pixels
        except Problem as problem:
            answered.append(Film(**fields, refused=problem.error))
            continue
        outputs = await champion.network.infer(pixels)
        strange = guard.score(champion.guard, pixels) > champion.guard["threshold"]
        refused = STRANGER if strange else None
        answered.append(Film(**fields, probability=outputs.probability, refused=refused))
    return answered


def measure(films: Sequence[Film], thresholds: dict[str, float], options: settings.Evaluate) -> dict[str, Any]:
    """All figures; a figure is a list of value, low and high (95 %, bootstrap by patient within class), null where undefined.

    Accepted films give the figures; `with_refused` tells the AUC when the guard's refusals are answered all the same.
    """
    accepted = [film for film in films if film.refused is None]
    readable = [film for film in films if film.probability is not None]
    refusals: dict[str, int] = {}
    for film in films:
        if film.refused:
            refusals[film.refused] = refusals.get(film.refused, 0) + 1
    report: dict[str, Any] = {
        "films": len(films),
        "patients": len({film.patient for film in films}),
        "refusals": dict(sorted(refusals.items())),
        "share_refused_by_guard": _share([film.refused == STRANGER for film in films], films, options),
        "accepted": _figures(accepted, thresholds, options),
        "with_refused": _figures(readable, thresholds, options),
        "local_threshold": _local(accepted, options),
    }
    labels, logits = _arrays(accepted)
    if len(accepted):
        sample = statistics.draw(labels, [film.patient for film in accepted], options.resamples, options.seed)
        report["reliability"] = calibration.reliability(labels, logits, sample)
    views = sorted({film.view for film in films})
    if len(views) > 1:
        report["views"] = {}
        for view in views:
            seen = [film for film in films if film.view == view]
            refused = sum(film.refused is not None for film in seen)
            kept = _figures([film for film in accepted if film.view == view], thresholds, options)
            report["views"][view] = {"films": len(seen), "refused": refused, **kept}
    return report


def _figures(films: Sequence[Film], thresholds: dict[str, float], options: settings.Evaluate) -> dict[str, Any]:
    labels, logits = _arrays(films)
    counts = {"normal": int(np.sum(~labels)), "pneumonia": int(np.sum(labels))}
    if not all(counts.values()):
        return counts  # with one class alone there is nothing to tell apart
    sample = statistics.draw(labels, [film.patient for film in films], options.resamples, options.seed)
    figures = {"auc": statistics.auc(labels, logits, sample), **metrics.probabilities(labels, logits, sample)}
    for point, threshold in thresholds.items():
        found = metrics.decisions(labels, logits, sample, calibration.logit(threshold))
        figures |= {f"{name}_at_{point}": found[name] for name in ("sensitivity", "specificity")}
    return counts | {name: _numbers(statistics.interval(values)) for name, values in figures.items()}


def _share(chosen: Sequence[bool], films: Sequence[Film], options: settings.Evaluate) -> list[float | None]:
    """The share of the films that were chosen, with its interval by patient."""
    labels, patients = [film.pneumonia for film in films], [film.patient for film in films]
    sample = statistics.draw(np.array(labels), patients, options.resamples, options.seed)
    return _numbers(statistics.mean(np.array(chosen, dtype=np.float64), sample))


def _local(films: Sequence[Film], options: settings.Evaluate) -> dict[str, Any] | None:
    """A sensitive threshold of the site's own: fitted on one half of the patients, measured on the other."""
    halves: tuple[list[Film], list[Film]] = ([], [])
    for film in films:
        halves[hashlib.sha256(film.patient.encode()).digest()[0] % 2].append(film)
    labels, logits = _arrays(halves[0])
    if len(set(labels.tolist())) < 2:
        return None
    sample = statistics.draw(labels, [film.patient for film in halves[0]], options.resamples, options.seed)
    cut = operating.sensitive(labels, logits, sample, options.sensitive)
    if cut is None:
        return None
    threshold = float(calibration.sigmoid(np.float64(cut)))
    measured = _figures(halves[1], {"local": threshold}, options)
    return {"threshold": threshold, "sensitivity_bound": options.sensitive, "fitted_on": len(halves[0]), **measured}


def _arrays(films: Sequence[Film]) -> tuple[np.ndarray, np.ndarray]:
    probabilities = np.array([film.probability for film in films], dtype=np.float64).clip(ALMOST, 1 - ALMOST)
    return np.array([film.pneumonia for film in films], dtype=bool), np.log(probabilities / (1 - probabilities))


def _numbers(figure: Sequence[float]) -> list[float | None]:
    return [round(float(number), 6) if np.isfinite(number) else None for number in figure]


def main() -> None:
    """Measure, write metrics/site/NAME.json, and print the figures that matter most."""
    if len(sys.argv) not in (3, 4):
        raise ProjectError("give SOURCE (a folder), LABELS (a CSV: file, label, patient, view) and perhaps a NAME")
    source, table = Path(sys.argv[1]), Path(sys.argv[2])
    name = word(sys.argv[3] if len(sys.argv) == 4 else source.resolve().name)
    options = settings.load()
    films = read_labels(source, table)
    champion = model.load(model.champion_version(), options.serve.threads)
    limits = uploads.limits_of(options.serve)
    films = asyncio.run(ask(champion, films, limits))
    report = measure(films, {point: champion.threshold(point) for point in POINTS}, options.evaluate)
    report |= {"version": champion.version, "dataset": champion.contract["dataset"], "name": name}
    target = paths.METRICS / "site" / f"{name}.json"
    write_json(target, report)
    print(f"{report['films']} films of {report['patients']} patients; refused: {report['refusals'] or 'none'}")
    for figure in ("auc", "sensitivity_at_sensitive", "specificity_at_sensitive", "log_loss"):
        if figure in report["accepted"]:
            value, low, high = report["accepted"][figure]
            print(f"{figure}: {value} ({low} to {high})")
    print(f"written to {target.relative_to(paths.ROOT)}; research software, not a medical device")


if __name__ == "__main__":
    run("evaluate-site", main)
