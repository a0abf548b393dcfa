"""Sentences of the committed documents, made again from the committed predictions with scikit-learn alone."""

import csv
import json
import re
from functools import cache

import numpy as np
import pytest
import yaml
from sklearn import metrics

from pipeline import paths

README = (paths.ROOT / "README.md").read_text(encoding="utf-8")
PARAMS = yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8"))
EPOCHS = PARAMS["train"]["common"]["epochs"]


@cache
def answers(run: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and logits of a run's images of a split."""
    with (paths.predictions(run) / "images.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == split]
    return np.array([row["label"] == "PNEUMONIA" for row in rows]), np.array([float(row["logit"]) for row in rows])


def trained(run: str) -> bool:
    """Whether the run has all epochs, and neither one class for 99 % of its validation images nor an AUC below .6."""
    facts = json.loads((paths.predictions(run) / "run.json").read_text(encoding="utf-8"))
    labels, logits = answers(run, "validation")
    called = np.mean(logits >= 0)
    idle = max(called, 1 - called) >= 0.99 or metrics.roc_auc_score(labels, logits) < 0.6
    return facts["epochs"] >= EPOCHS and not idle


def finished() -> list[str]:
    """The runs that a conclusion may use."""
    return [run for run in PARAMS["train"]["runs"] if (paths.predictions(run) / "run.json").is_file() and trained(run)]


def area(run: str) -> float:
    return float(metrics.roc_auc_score(*answers(run, "test")))


def accuracy(run: str) -> float:
    """At the run's own threshold, which was fixed on validation."""
    measured = json.loads((paths.METRICS / "runs" / f"{run}.json").read_text(encoding="utf-8"))
    labels, logits = answers(run, "test")
    return float(metrics.accuracy_score(labels, logits >= measured["threshold_sensitive_logit"]))


def mean_difference(first: str, second: str, value) -> float:
    """Over the seeds of a network, then over networks; pairs of equal epochs and starts alone."""
    runs, by_network = finished(), {}
    entries = PARAMS["train"]["runs"]
    for run in runs:
        entry = entries[run]
        other = f"{entry['network']}-{second}-{entry['seed']}"
        if run != f"{entry['network']}-{first}-{entry['seed']}" or other not in runs:
            continue
        if all(entry[key] == entries[other][key] for key in ("epochs", "weights")):
            by_network.setdefault(entry["network"], []).append(value(run) - value(other))
    return float(np.mean([np.mean(differences) for differences in by_network.values()]))


def told(pattern: str) -> list[float]:
    """The numbers of a sentence of README."""
    match = re.search(pattern, README)
    assert match, pattern
    return [float(text.replace("+.", ".").replace("-.", "-0.")) for text in match.groups()]


@pytest.mark.parametrize(
    ("said", "first", "second"),
    [("Augmentation helps", "augmented", "raw"), ("Balancing helps further", "balanced", "augmented")],
)
def test_a_finding_tells_the_mean_difference(said, first, second):
    auc, right = told(rf"- {said}: .*?AUC ([+-][.0-9]+) .*?accuracy at the validation threshold ([+-][.0-9]+) ")
    assert mean_difference(first, second, area) == pytest.approx(auc, abs=6e-4)
    assert mean_difference(first, second, accuracy) == pytest.approx(right, abs=6e-4)


def test_most_errors_are_of_one_kind():
    counts = np.sum([metrics.confusion_matrix(*_called(run)) for run in finished()], axis=0)
    number, percent = told(r"Of the errors of the ([0-9]+) finished runs .*?, ([0-9]+)% are false positives")
    assert number == len(finished())
    assert percent == round(100 * counts[0, 1] / (counts[0, 1] + counts[1, 0]))


def test_a_run_that_did_not_train_or_is_unfinished_is_named():
    told_of = re.search(r"Unfinished, so used by no conclusion.*", README)
    named = set(re.findall(r"([a-z0-9_]+-[a-z]+-[0-9][a-z-]*) [(]", told_of[0])) if told_of else set()
    epochs = {run: json.loads((paths.predictions(run) / "run.json").read_text())["epochs"] for run in _there()}
    assert named == {run for run in _there() if epochs[run] < EPOCHS}


def test_the_best_network_is_told_by_its_auc():
    """Chosen by stressed validation, pooled; its official test against Xception's best."""
    entries = PARAMS["train"]["runs"]
    runs_of_study = [
        run
        for run in finished()
        if entries[run]["group"] != "robust" and re.fullmatch(r"[a-z0-9_]+-[a-z]+-[0-9]+", run)
    ]
    best = max(runs_of_study, key=_stressed)
    assert f"the best finished run on the study's own groups is `{best}`" in README
    xception = max((run for run in runs_of_study if entries[run]["network"] == "xception"), key=_stressed)
    (difference,) = told(rf"{best} less {xception} .*?AUC ([+-][.0-9]+) ")
    assert area(best) - area(xception) == pytest.approx(difference, abs=6e-4)


def _there() -> list[str]:
    return [run for run in PARAMS["train"]["runs"] if (paths.predictions(run) / "run.json").is_file()]


def _called(run: str) -> tuple[np.ndarray, np.ndarray]:
    labels, logits = answers(run, "test")
    return labels, logits >= 0


def _stressed(run: str) -> float:
    """AUC over all changed validation images; `row` counts the lines of images.csv."""
    with (paths.predictions(run) / "images.csv").open(encoding="utf-8", newline="") as stream:
        labels = [row["label"] == "PNEUMONIA" for row in csv.DictReader(stream)]
    with (paths.predictions(run) / "stress.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return float(
        metrics.roc_auc_score([labels[int(row["row"])] for row in rows], [float(row["logit"]) for row in rows])
    )
