"""Runs on external tests as a table: does what holds up under stress hold up elsewhere? Neither metric promises it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation import bootstrap, contrasts, metrics
from pipeline.evaluation.formatting import Row, estimate, label, markdown, of, signed
from pipeline.files import read_json, sha256_of
from pipeline.reporting import external_table
from pipeline.settings import BASELINE, Evaluate

POINT = "sensitive"


def table(folder: Path, predictions: Path, runs: Sequence[Row], options: Evaluate, epochs: int) -> str:
    """All external tests of metrics/site_runs/, each with its runs, and the robust runs against the balanced ones."""
    parts = [
        _hospital(path, predictions, runs, options, epochs) for path in sorted((folder / "site_runs").glob("*.json"))
    ]
    return "\n\n".join(parts) or "No run has answered an external test yet (`make evaluate-site ... RUNS=...`)."


def _hospital(path: Path, predictions: Path, runs: Sequence[Row], options: Evaluate, epochs: int) -> str:
    site = read_json(path)
    labels = np.array([radiograph["pneumonia"] for radiograph in site["films"]])
    views = np.array([radiograph["view"] for radiograph in site["films"]])
    sample = bootstrap.draw(
        labels, [radiograph["patient"] for radiograph in site["films"]], options.resamples, options.seed
    )
    measured = [run for run in runs if run["run"] != BASELINE and _current(site["runs"], predictions, run["run"])]
    kinds = sorted(set(views))
    header = [
        "run",
        "AUC stressed validation",
        "AUC official test",
        "AUC external test",
        *(f"{kind} alone" for kind in kinds),
    ]
    header += ["sensitivity external test", "specificity external test"]
    body, areas = [], {}
    for run in measured:
        logits = np.array(site["runs"][run["run"]]["logits"])
        areas[run["run"]] = bootstrap.auc(labels, logits, sample)
        line = [label(run), of(run, "stress_auc"), of(run, "test_auc"), _told(areas[run["run"]])]
        for kind in kinds:
            seen = views == kind
            line.append(_told(bootstrap.auc(labels[seen], logits[seen], sample.take(seen))))
        threshold = run[f"threshold_{POINT}_logit"]
        decided = metrics.decisions(labels, logits, sample, threshold) if isinstance(threshold, float) else {}
        line += [_told(decided[name]) if decided else "-" for name in ("sensitivity", "specificity")]
        body.append(line)
    ill = int(labels.sum())
    images = f"{len(labels)} images of {site['name']} ({ill} with pneumonia), all scored, no input check before them"
    parts = [
        f"{images}; sensitivity and specificity at each run's own threshold, fixed on validation:",
        markdown(header, body),
    ]
    if said := external_table.NOTES.get(site["name"]):
        parts.append(said)
    if len(kinds) > 1:
        parts.append(_views(labels, views, sample))
    parts.append(_robust({run["run"]: run for run in measured}, areas, epochs))
    return "\n\n".join(parts)


def _views(labels: bootstrap.Bools, views: np.ndarray, sample: bootstrap.Sample) -> str:
    """What the view tells without the image: each image gets the share of pneumonia among those of its view."""
    shares = {view: float(labels[views == view].mean()) for view in sorted(set(views))}
    told = ", ".join(f"{share:.0%} of {view}" for view, share in shares.items())
    area = _told(bootstrap.auc(labels, np.array([shares[view] for view in views]), sample))
    return (
        f"The view tells the classes apart without the image ({told} show pneumonia): AUC {area}. "
        "So the columns by view say more than the one over all images."
    )


def _current(answers: Mapping[str, Any], predictions: Path, run: str) -> bool:
    """Whether the answers are those of the network whose predictions are committed."""
    images = predictions / run / "images.csv"
    return run in answers and images.exists() and answers[run]["predictions"] == sha256_of(images)


def _robust(runs: Mapping[str, Row], areas: Mapping[str, bootstrap.Floats], epochs: int) -> str:
    """AUC of each robust run less that of the balanced run of the same network, seed, start and epochs; both finished."""
    plan = contrasts.group_plan(runs, "robust", "balanced", epochs)
    lines = []
    for name, other in (pair for pairs in plan.parts.values() for pair in pairs):
        stressed = runs[name]["stress_auc"] - runs[other]["stress_auc"]
        difference = bootstrap.interval(areas[name] - areas[other])
        elsewhere = signed(*difference) if np.isfinite(difference).all() else "undefined"
        lines.append(f"- `{name}` less `{other}`: AUC {signed(stressed)} on stressed validation, {elsewhere} here.")
    return "\n".join(lines) or "No finished robust run has answered beside its balanced one yet."


def _told(replicates: bootstrap.Floats) -> str:
    """A metric with its interval; a dash where it is undefined, as with one class alone."""
    value, low, high = (number if np.isfinite(number) else None for number in bootstrap.interval(replicates))
    return estimate(value, low, high)
