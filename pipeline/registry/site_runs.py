"""Trained runs on another hospital's films, side by side: does what holds up under stress hold up elsewhere too?

    python -m pipeline.registry.site_runs SOURCE LABELS NAME RUN...

SOURCE and LABELS are those of `pipeline.serving.site`, which measures the champion as it is served. Here the networks
answer as they were trained, and every film that can be read, since no guard stands before them. Their logits go to
metrics/site_runs/NAME.json, beside those of other runs on the same films. They choose nothing.
"""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths, settings
from pipeline.command import run as run_command
from pipeline.errors import ProjectError
from pipeline.files import sha256_of, write_json
from pipeline.serving import site, uploads
from pipeline.serving.problems import Problem

log = logging.getLogger("site_runs")


def main() -> None:
    """Let each named run answer the films, and keep its answers."""
    if len(sys.argv) < 5:
        raise ProjectError(
            "give SOURCE (a folder), LABELS (a CSV: file, label, patient, view), a NAME, and names of runs"
        )
    source, labels, name, *runs = sys.argv[1:]
    options = settings.load()
    if unknown := sorted(set(runs) - set(options.runs)):
        raise ProjectError(f"params.yaml: train.runs has no {', '.join(unknown)}")
    target = paths.METRICS / "site_runs" / f"{site.word(name)}.json"
    films, pixels = read(site.read_labels(Path(source), Path(labels)), options)
    known = _known(target, films)
    for run in runs:
        known[run] = {"predictions": sha256_of(paths.predictions(run) / "images.csv"), "logits": answer(run, pixels)}
        write_json(target, {"name": name, "films": films, "runs": dict(sorted(known.items()))})
        log.info("%s: %d films", run, len(films))


def read(named: Sequence[site.Film], options: settings.Settings) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The films that can be read, and their pixels, uint8 [films, side, side], the way that an upload is read."""
    limits = uploads.Limits(options.serve.max_pixels, options.serve.max_frames)
    films, pixels = [], []
    for film in named:
        try:
            pixels.append(uploads.read(film.path.read_bytes(), options.preprocess.image_size, limits).pixels)
        except Problem as problem:
            log.warning("%s is left out: %s", film.path.name, problem.error)
            continue
        films.append({"file": film.path.name, "pneumonia": film.pneumonia, "patient": film.patient, "view": film.view})
    if not films:
        raise ProjectError("no film can be read")
    return films, np.stack(pixels)


def answer(run: str, pixels: np.ndarray) -> list[float]:
    """The logit of each picture by the run's network."""
    from pipeline.learning import predict, trained  # Keras

    return [round(float(logit), 5) for logit in predict.logit_predictor(trained.load(run))(pixels)]


def _known(target: Path, films: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What other runs answered to the same films.

    Raises:
        ProjectError: the file holds answers to other films, which would be lost.
    """
    if not target.exists():
        return {}
    before = json.loads(target.read_text(encoding="utf-8"))
    if before["films"] != list(films):
        raise ProjectError(
            f"metrics/site_runs/{target.name} holds the answers to other films ({len(before['films'])}, here "
            f"{len(films)}): take another NAME, or delete that file"
        )
    return dict(before["runs"])


if __name__ == "__main__":
    run_command("site_runs", main)
