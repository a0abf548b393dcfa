"""The gate's rules on validation patients: pure functions of what two networks said of the same images."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap, cross_fitting, operating
from pipeline.evaluation.bootstrap import Bools, Floats, Sample
from pipeline.evaluation.cross_fitting import Scores
from pipeline.registry.validation_predictions import Validation
from pipeline.settings import Evaluate, Gate, Minimum

Pair = tuple[Validation, Validation]


@dataclass(frozen=True)
class Rule:
    """One question: the metric, its one-sided bound (of level `gate.level` or 95 %), and what the bound is held against."""

    name: str
    passed: bool
    value: float | None
    bound: float | None
    limit: float | None
    on: str


def decide(
    candidate: Validation, incumbents: dict[str, Validation], serving: str | None, gate: Gate, evaluate: Evaluate
) -> tuple[str | None, list[Rule]]:
    """The rules on validation patients.

    Args:
        candidate: its answers to its validation images.
        incumbents: the answers of every champion on record (of the same data set), by version. Only images that are
            validation images of both are compared, so nobody is measured on patients it was trained on.
        serving: the champion, which is always compared when it is among the incumbents.
        gate: margins and minima.
        evaluate: operating points, resamples and seed.

    Returns:
        The incumbent that it was held against first (the champion, else the best on record; None without incumbents),
        and the rules.
    """
    minimums = minimum_rules(candidate, gate, evaluate)
    if not incumbents:
        return None, minimums
    shared = {version: shared_images(candidate, incumbent) for version, incumbent in incumbents.items()}
    enough = {version: pair for version, pair in shared.items() if _patients(pair[0]) >= gate.min_patients}
    measured = {version: scores_of(pair[1], gate, evaluate) for version, pair in enough.items()}
    best = max(measured, key=lambda version: measured[version].auc[0], default=None)
    first = serving if serving in incumbents else best
    rules = []
    for version in dict.fromkeys((first, best)):
        if version not in enough:
            return version or next(iter(shared)), [_no_comparison(shared, gate), *minimums]
        ours = shared[version][0]
        who = f"champion {version}" if version == serving else f"best on record {version}"
        on = f"{len(set(ours.clean.patients))} patients, {len(ours.unseen)} changes, against {who}"
        suffix = "" if version == first else ", best"
        rules += non_inferiority(scores_of(ours, gate, evaluate), measured[version], gate, suffix, on)
    return first, rules + minimums


def scores_of(validation: Validation, gate: Gate, evaluate: Evaluate) -> Scores:
    """AUC and log loss on the family that decides, by patient."""
    sample = _draw(validation, evaluate)
    return cross_fitting.scores(validation.clean, validation.unseen, sample, gate.folds, evaluate.seed)


def non_inferiority(ours: Scores, theirs: Scores, gate: Gate, suffix: str = "", on: str = "") -> list[Rule]:
    """Is the candidate worse by less than the margins? Paired: both saw the same images and the same resamples."""
    gain, worse = ours.auc - theirs.auc, ours.log_loss - theirs.log_loss
    low, high = bootstrap.lower_bound(gain, gate.level), bootstrap.upper_bound(worse, gate.level)
    return [
        _rule(f"AUC{suffix}", low >= -gate.auc_margin, gain, low, -gate.auc_margin, on),
        _rule(f"log loss{suffix}", high <= gate.log_loss_margin, worse, high, gate.log_loss_margin, on),
    ]


def minimum_rules(candidate: Validation, gate: Gate, evaluate: Evaluate) -> list[Rule]:
    """Minima at the sensitive operating point, on the images as they are and under the first family of changes."""
    sample = _draw(candidate, evaluate)
    labels = candidate.clean.labels
    on = f"{len(set(candidate.clean.patients))} validation patients"
    called, stressed = cross_fitted_calls(candidate, sample, gate.folds, evaluate)
    times = len(stressed)
    many = sample.take(np.tile(np.arange(len(labels)), times))
    pooled = np.concatenate(list(stressed.values()))
    return [
        *minima("", labels, called, sample, gate.validation, on),
        *minima("stressed ", np.tile(labels, times), pooled, many, gate.stress, f"{on}, {times} changes"),
    ]


def _no_comparison(shared: dict[str, Pair], gate: Gate) -> Rule:
    most = max(_patients(pair[0]) for pair in shared.values())
    shared_count = f"{most} patients of the rarer class held out by both; at least {gate.min_patients}"
    return Rule("comparison possible", False, None, None, None, shared_count)


def cross_fitted_calls(
    validation: Validation, sample: Sample, folds: int, evaluate: Evaluate
) -> tuple[Bools, dict[str, Bools]]:
    """Which images are called pneumonia, `[images]`, as they are and under each change.

    Each fold of patients is called at the sensitive threshold that the other folds gave.
    """
    clean = validation.clean
    fold = cross_fitting.deal(clean, folds, evaluate.seed)
    called = np.zeros(len(clean.labels), dtype=bool)
    stressed = {change: np.zeros(len(clean.labels), dtype=bool) for change in validation.stress}
    for number in range(folds):
        inside, others = fold == number, fold != number
        threshold = operating.sensitive(
            clean.labels[others], clean.logits[others], sample.take(others), evaluate.sensitive
        )
        if threshold is None:
            raise ProjectError(f"validation without fold {number + 1} of {folds} has one class; use fewer gate.folds")
        called[inside] = clean.logits[inside] >= threshold
        for change, logits in validation.stress.items():
            stressed[change][inside] = logits[inside] >= threshold
    return called, stressed


def minima(prefix: str, labels: Bools, called: Bools, sample: Sample, minimum: Minimum, on: str) -> list[Rule]:
    """Sensitivity and specificity of the calls: the lower bound of each must reach its minimum."""
    rules = []
    for name, chosen, right, limit in (
        ("sensitivity", labels, labels & called, minimum.min_sensitivity),
        ("specificity", ~labels, ~labels & ~called, minimum.min_specificity),
    ):
        rate = bootstrap.divide(sample.totals(right), sample.totals(chosen))
        bound = bootstrap.lower_bound(rate)
        rules.append(_rule(prefix + name, bound >= limit, rate, bound, limit, on))
    return rules


def _draw(validation: Validation, evaluate: Evaluate) -> Sample:
    return bootstrap.draw(validation.clean.labels, validation.clean.patients, evaluate.resamples, evaluate.seed)


def shared_images(candidate: Validation, incumbent: Validation) -> Pair:
    """Both, narrowed to the images that both have with the same label; the same order."""
    known = dict(zip(incumbent.clean.paths, incumbent.clean.labels, strict=True))
    common = {
        path
        for path, label in zip(candidate.clean.paths, candidate.clean.labels, strict=True)
        if path in known and known[path] == label
    }
    ours, theirs = (
        held.take(np.array([path in common for path in held.clean.paths], dtype=bool))
        for held in (candidate, incumbent)
    )
    order = {path: row for row, path in enumerate(theirs.clean.paths)}
    return ours, theirs.take(np.array([order[path] for path in ours.clean.paths], dtype=np.intp))


def _patients(validation: Validation) -> int:
    """Patients of the rarer class."""
    pairs = set(zip(validation.clean.patients, validation.clean.labels.tolist(), strict=True))
    return min(sum(label for _, label in pairs), sum(not label for _, label in pairs))


def _rule(name: str, passed: bool, replicates: Floats, bound: float, limit: float, on: str) -> Rule:
    """A rule with its numbers; what is undefined (NaN) has passed nothing and is shown as none."""
    value, edge = (float(number) if np.isfinite(number) else None for number in (replicates[0], bound))
    return Rule(name, bool(passed), value, edge, limit, on)
