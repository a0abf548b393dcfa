"""The contract of a candidate, as JSON and as a card; and the check that its files keep it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import outcomes, paths
from pipeline.errors import ProjectError
from pipeline.files import read_json, sha256_of
from pipeline.inference import RUNTIME, Graph
from pipeline.labels import EVALUATED

INTENDED_USE = (
    "Research and teaching: how a network trained on chest X-rays of children aged 1 to 5 from one hospital ranks "
    "frontal radiographs by signs of pneumonia. Not a medical device; not for diagnosis, triage or treatment; not for adults, "
    f"side views or other questions. {outcomes.CAUTION}"
)
KEYS = [
    "name",
    "version",
    "dataset",
    "edition",
    "dataset_digest",
    "run",
    "network",
    "precision",
    "input",
    "outputs",
    "operating_points",
    "recalibration",
    "prevalence",
    "map_scale",
    "figures",
    "files",
    "intended_use",
    "changelog",
]
FORMAT = 2  # of the contract: raised when its keys or the rule of its version change
ANSWERING = ("guard.npz", "model.onnx")  # the files that decide an answer
SCALES = ("input", "map_scale", "precision", "prevalence", "recalibration")  # the numbers beside them that do
TOLERANCE = 1e-4


def version_of(contract: dict[str, Any]) -> str:
    """The run's name and eight digits of a digest of what answers: network, input check, thresholds, recalibration, scales.

    Metrics, texts and the code that wrote them are not in it. Contracts of 0.1.0 (no `format`) hashed all their content.
    """
    if "format" not in contract:
        answers: Any = {key: value for key, value in contract.items() if key != "version"}
    else:
        answers = {
            "files": {name: contract["files"][name] for name in ANSWERING},
            **{key: contract[key] for key in SCALES},
            "thresholds": [limit.score for limit in outcomes.thresholds(contract)],
        }
    text = json.dumps(answers, sort_keys=True, allow_nan=False)
    return f"{contract['run']}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def read(folder: Path) -> dict[str, Any]:
    """The contract in `folder`.

    Raises:
        ProjectError: the file is missing, no JSON, or lacks a key.
    """
    path = folder / "contract.json"
    contract = read_json(path, "package a candidate (dvc repro package)")
    missing = [key for key in KEYS if not isinstance(contract, dict) or key not in contract]
    if missing:
        raise ProjectError(f"{path}: {', '.join(missing)} missing")
    return contract


def champion_of(run: str) -> Path | None:
    """The folder of a champion that was made of this run and is whole; None where there is none."""
    for folder in sorted(paths.CHAMPIONS.glob(f"{run}-*")):
        contract = read(folder)
        if contract["run"] == run and not check_files(folder, contract):
            return folder
    return None


def check_files(folder: Path, contract: dict[str, Any]) -> list[str]:
    """Which of the files that the contract names are missing or have other bytes; one line each."""
    broken = []
    for name, digest in contract["files"].items():
        path = folder / name
        if not path.is_file():
            broken.append(f"{folder.name}/{name} is missing")
        elif sha256_of(path) != digest:
            broken.append(f"{folder.name}/{name} is not the file that was packaged")
    return broken


def check(folder: Path) -> list[str]:
    """The contract tests: everything in it that the files in `folder` break, one line each; none when all is well.

    Raises:
        ProjectError: there is no contract, or no graph that can be loaded.
    """
    contract = read(folder)
    broken = check_files(folder, contract)
    if broken:
        return broken
    if contract["version"] != version_of(contract):
        broken.append(f"the version is {contract['version']}, its content says {version_of(contract)}")
    broken += _check_thresholds(contract)
    for split in EVALUATED:
        for name, estimate in contract["figures"][split].items():
            if estimate["low"] != "undefined" and not estimate["low"] <= estimate["value"] <= estimate["high"]:
                broken.append(f"metric {split} {name} lies outside its interval")
    return broken + _check_graph(folder / "model.onnx", contract)


def _check_thresholds(contract: dict[str, Any]) -> list[str]:
    """Are both thresholds there, in order, and those that were fixed point by point?"""
    try:
        limits = [limit.score for limit in outcomes.thresholds(contract)]
        points = sorted(float(point["threshold"]) for point in contract["operating_points"].values())
    except (ProjectError, KeyError, TypeError, ValueError, AttributeError) as error:
        return [str(error)]
    return [] if limits == points else [f"the thresholds {limits} are not the operating points {points}"]


def _check_graph(path: Path, contract: dict[str, Any]) -> list[str]:
    """Does the graph map the declared input to the declared outputs, whatever the batch, image and runtime?"""
    side = contract["input"]["shape"][1]
    images = np.random.default_rng(0).integers(0, 256, (5, side, side)).astype(np.uint8)
    images[3], images[4] = 0, 255
    graph = Graph(path)
    answers = graph.answer(images)
    single = graph.answer(images[:1])
    broken = []
    for name, values in zip(("logit", "probability", "map", "features"), answers, strict=True):
        if values is None or name not in contract["outputs"]:
            broken += [f"output {name} is declared and missing"] if name in contract["outputs"] else []
            continue
        declared = [len(images), *contract["outputs"][name]["shape"][1:]]
        if list(values.shape) != declared:
            broken.append(f"output {name} has the shape {list(values.shape)} in place of {declared}")
        if not np.isfinite(values).all():
            broken.append(f"output {name} is not finite")
    if np.abs(single.probabilities - answers.probabilities[:1]).max() > TOLERANCE:
        broken.append("an image alone has another probability than among others")
    recalibration = contract["recalibration"]
    expected = 1 / (1 + np.exp(-(recalibration["intercept"] + recalibration["slope"] * answers.logits)))
    if np.abs(expected - answers.probabilities).max() > TOLERANCE:
        broken.append("the probability is not the declared recalibration of the logit")
    if answers.maps.min() < 0:
        broken.append("the map is negative somewhere")
    if RUNTIME == "OpenVINO":
        other = Graph(path, "ONNX Runtime").answer(images)
        if np.abs(other.probabilities - answers.probabilities).max() > TOLERANCE:
            broken.append("OpenVINO and ONNX Runtime disagree on a probability")
    return broken
