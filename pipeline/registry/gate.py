"""A gate that checks non-inferiority on validation patients before promotion: each rule with its limit and a bound.

The candidate is held against the serving champion, and against the best champion on record beside it, under changes that no
recipe trains on. Test metrics are shown and no rule reads them. `python -m pipeline.registry.gate` shows the decision and
changes nothing; `--keep` writes metrics/gate.json.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline import settings as all_settings
from pipeline.command import run
from pipeline.data import trees
from pipeline.data.imaging import read_pixels
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap
from pipeline.evaluation.bootstrap import Floats
from pipeline.evaluation.predictions import Split
from pipeline.files import sha256_of, write_json
from pipeline.inference import Graph
from pipeline.labels import CLASSES, PNEUMONIA
from pipeline.registry import contract, record, validation_predictions
from pipeline.registry.rules import Rule, decide, minima
from pipeline.settings import Settings

SUFFIXES = (".jpeg", ".jpg", ".png", ".tif", ".tiff")


@dataclass(frozen=True)
class Decision:
    """All rules for one candidate, and the champion that it was held against first (None: the first of its data set)."""

    version: str
    against: str | None
    rules: list[Rule]

    @property
    def passed(self) -> bool:
        """True when every rule passed."""
        return all(rule.passed for rule in self.rules)


def main() -> None:
    """Print the decision on models/candidate/, and end with status 1 if it is no."""
    parser = argparse.ArgumentParser(prog="gate", description=main.__doc__)
    parser.add_argument("--keep", action="store_true", help="write the decision to metrics/gate.json")
    asked = parser.parse_args()
    decision = judge(paths.CANDIDATE, all_settings.load())
    show(decision)
    if asked.keep:
        keep(decision)
    if not decision.passed:
        raise ProjectError(rejection(decision))


def judge(folder: Path, settings: Settings) -> Decision:
    """Hold the candidate in `folder` against every rule.

    Raises:
        ProjectError: files of the candidate or of a folder in `gate.extra` are missing or damaged.
    """
    terms = contract.read(folder)
    broken = contract.check(folder)
    extra = {}
    if not broken:  # a broken graph is not asked
        graph = Graph(folder / "model.onnx")
        for name, chosen in settings.gate.extra.items():
            extra[name] = _read_extra(name, paths.ROOT / chosen.folder, graph, terms["input"]["shape"][1])
    incumbents = {}
    for version in dict.fromkeys(event["version"] for event in record.events()):
        if version == terms["version"]:
            continue
        if contract.read(paths.CHAMPIONS / version)["dataset"] == terms["dataset"]:
            incumbents[version] = validation_predictions.measured(paths.CHAMPIONS / version)
    candidate = validation_predictions.measured(folder)
    against, rules = decide(candidate, incumbents, record.champion(), settings.gate, settings.evaluate)
    threshold = terms["operating_points"]["sensitive"]["threshold"]
    for name, (split, probabilities) in extra.items():
        sample = bootstrap.draw(split.labels, split.patients, settings.evaluate.resamples, settings.evaluate.seed)
        called, on = probabilities >= threshold, f"{len(split.paths)} images"
        rules += minima(f"{name} ", split.labels, called, sample, settings.gate.extra[name], on)
    rules.append(Rule("contract tests", not broken, None, None, None, "; ".join(broken) or "all green"))
    return Decision(terms["version"], against, rules)


def _read_extra(name: str, folder: Path, graph: Graph, side: int) -> tuple[Split, Floats]:
    """The images of a labelled folder, each a patient of its own, and what the graph says of them."""
    known = {row["sha256"]: row["path"] for row in read_table(paths.MANIFEST)} if paths.MANIFEST.is_file() else {}
    files = [
        (path, label)
        for label in CLASSES
        for path in sorted((folder / label).glob("*"))
        if path.suffix.lower() in SUFFIXES
    ]
    if len({label for _, label in files}) < 2:
        raise ProjectError(f"gate.extra.{name}: {folder} needs images in both NORMAL/ and PNEUMONIA/")
    for path, _ in files:
        if not trees.is_file(path):
            raise ProjectError(f"gate.extra.{name}: {path.name} is a link or no regular file, and is not followed")
        if (twin := known.get(sha256_of(path))) is not None:
            raise ProjectError(f"gate.extra.{name}: {path.name} is {twin} of the data set itself; name other images")
    pixels = np.stack([read_pixels(path, side) for path, _ in files])
    answered = graph.answer(pixels, name)
    labels = np.array([label == PNEUMONIA for _, label in files])
    names = [f"{label}/{path.name}" for path, label in files]
    return Split(names, labels, ["" for _ in files], names, answered.logits), answered.probabilities


def show(decision: Decision) -> None:
    """Print every rule with its numbers, beside the test metrics that none of them reads."""
    lines = [
        f"{'':4} {'rule':22} {'value':>8} {'bound':>11} {'limit':>8}  on",
        *(
            f"{'pass' if rule.passed else 'FAIL'} {rule.name:22} {_number(rule.value):>8} {_number(rule.bound):>11} "
            f"{_number(rule.limit):>8}  {rule.on}"
            for rule in decision.rules
        ),
    ]
    metrics = contract.read(paths.CANDIDATE)["figures"]["test"]
    shown = {name: metrics[name]["value"] for name in ("auc", "sensitivity_at_sensitive", "specificity_at_sensitive")}
    lines.append(
        f"shown, read by no rule: official test {', '.join(f'{name} {value}' for name, value in shown.items())}"
    )
    lines.append(f"{decision.version}: {'passes' if decision.passed else 'rejected'}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def keep(decision: Decision) -> None:
    """Write metrics/gate.json: what a report and a retraining read of the last decision that mattered."""
    write_json(paths.METRICS / "gate.json", describe(decision))


def describe(decision: Decision) -> dict[str, Any]:
    """The decision as JSON, numbers to six decimals."""
    rules = [
        {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(rule).items()}
        for rule in decision.rules
    ]
    return {"version": decision.version, "against": decision.against, "passed": decision.passed, "rules": rules}


def rejection(decision: Decision) -> str:
    """Which rules the candidate failed, in one line."""
    failed = [rule for rule in decision.rules if not rule.passed]
    said = (
        f"{rule.name} ({rule.on})"
        if rule.bound is None
        else f"{rule.name} (bound {rule.bound:.4f}, limit {rule.limit:g})"
        for rule in failed
    )
    return f"{decision.version} stays a challenger: {', '.join(said)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    run("gate", main)
