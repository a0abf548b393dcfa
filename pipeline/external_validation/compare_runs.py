"""Trained runs on the images of an external test, side by side: does what holds up under stress hold up elsewhere too?

    python -m pipeline.external_validation.compare_runs SOURCE LABELS [--name NAME] RUN...

SOURCE and LABELS are those of `pipeline.external_validation.evaluate`, which measures the champion as it is served. Here the
networks answer as they were trained, and every image that can be read, since no input check stands before them. Their logits
go to reports/site_runs/, which git ignores, or with a NAME to metrics/site_runs/NAME.json, to be kept, beside those of other
runs on the same images. They choose nothing.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline import paths, settings
from pipeline.command import run as run_command
from pipeline.data.brought_tables import cell
from pipeline.data.trees import Unreadable
from pipeline.errors import ProjectError
from pipeline.external_validation import labels, results
from pipeline.files import read_json, sha256_of, write_json
from pipeline.serving import uploads
from pipeline.serving.problems import Problem

log = logging.getLogger("compare_runs")


def main() -> None:
    """Let each named run answer the images, and keep its answers."""
    parser = argparse.ArgumentParser(prog="evaluate-site", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="a folder of images")
    parser.add_argument("labels", type=Path, help="a CSV: file, label, patient, view")
    parser.add_argument("runs", nargs="+", help="names of trained runs")
    parser.add_argument("--name", help="keep the answers in metrics/site_runs/NAME.json")
    chosen = parser.parse_args()
    options = settings.load()
    if unknown := sorted(set(chosen.runs) - set(options.runs)):
        raise ProjectError(f"params.yaml: train.runs has no {', '.join(unknown)}")
    target = results.metrics("site_runs", chosen.source, chosen.name)
    radiographs, pixels = read(labels.read(chosen.source, chosen.labels), options)
    known = _known(target, radiographs)
    for run in chosen.runs:
        known[run] = {"predictions": sha256_of(paths.predictions(run) / "images.csv"), "logits": answer(run, pixels)}
        write_json(target, {"name": target.stem, "films": radiographs, "runs": dict(sorted(known.items()))})
        log.info("%s: %d images", run, len(radiographs))


def read(named: Sequence[labels.Labelled], options: settings.Settings) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The images that can be read, and their pixels, uint8 [images, side, side], the way that an upload is read."""
    limits = uploads.limits_of(options.serve)
    radiographs, pixels = [], []
    for radiograph in tqdm(named, "images", unit="image"):
        name = cell(radiograph.image.name)
        try:
            data = radiograph.image.read(int(options.serve.max_megabytes * 2**20))
            pixels.append(uploads.read(data, options.preprocess.image_size, limits).pixels)
        except (Unreadable, Problem) as refusal:
            log.warning("%s is left out: %s", name, getattr(refusal, "error", refusal))
            continue
        radiographs.append(
            {"file": name, "pneumonia": radiograph.pneumonia, "patient": radiograph.patient, "view": radiograph.view}
        )
    if not radiographs:
        raise ProjectError("no image can be read")
    return radiographs, np.stack(pixels)


def answer(run: str, pixels: np.ndarray) -> list[float]:
    """The logit of each image by the run's network."""
    from pipeline.learning import predict, trained  # Keras

    return [round(float(logit), 5) for logit in predict.logit_predictor(trained.load(run))(pixels)]


def _known(target: Path, radiographs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What other runs answered to the same radiographs.

    Raises:
        ProjectError: the file holds answers to other radiographs, which would be lost.
    """
    if not target.exists():
        return {}
    before = read_json(target)
    if before["films"] != list(radiographs):
        raise ProjectError(
            f"{target.relative_to(paths.ROOT)} holds the answers to other radiographs ({len(before['films'])}, here "
            f"{len(radiographs)}): take another NAME, or delete that file"
        )
    return dict(before["runs"])


if __name__ == "__main__":
    run_command("evaluate-site", main)
