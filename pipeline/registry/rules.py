"""The gate's rules on validation patients: pure functions of what two networks said of the same pictures."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap, calibration, operating
from pipeline.evaluation.bootstrap import Bools, Floats, Sample
from pipeline.evaluation.predictions import Split
from pipeline.registry.validation_predictions import Validation
from pipeline.settings import Evaluate, Gate, Minimum


@dataclass(frozen=True)
class Rule:
    """One question: the figure, its one-sided 95 % bound, and what the bound is held against."""

    name: str
    passed: bool
    value: float | None
    bound: float | None
    limit: float | None
    on: str


def decide(
    candidate: Validation, rivals: dict[str, Validation], gate: Gate, evaluate: Evaluate
) -> tuple[str | None, list[Rule]]:
    """The rules on validation patients.

    Args:
        candidate: its answers to its validation pictures.
        rivals: the answers of every champion on record (of the same data set), by version. Only pictures that are
            validation pictures of both are compared, so nobody is measured on patients it was trained on.
        gate: margins and minima.
        evaluate: operating points, resamples and seed.

    Returns:
        The rival it was held against (the one with the best AUC; None without rivals), and the rules.
    """
    sample = _draw(candidate, evaluate)
    labels = candidate.clean.labels
    on = f"{len(set(candidate.clean.patients))} validation patients"
    called, stressed = cross_fitted_calls(candidate, sample, gate.folds, evaluate)
    rules = minima("", labels, called, sample, gate.validation, on)
    times = len(stressed)
    many = sample.take(np.tile(np.arange(len(labels)), times))
    pooled = np.concatenate(list(stressed.values()))
    rules += minima("stressed ", np.tile(labels, times), pooled, many, gate.stress, f"{on}, {times} changes")
    if not rivals:
        return None, rules
    against, compared = _compare(candidate, rivals, gate, evaluate)
    return against, compared + rules


def cross_fitted_calls(
    validation: Validation, sample: Sample, folds: int, evaluate: Evaluate
) -> tuple[Bools, dict[str, Bools]]:
    """Which pictures are called pneumonia, `[pictures]`, as they are and under each change.

    Each fold of patients is called at the sensitive threshold that the other folds gave.
    """
    clean = validation.clean
    fold = _folds(clean, folds, evaluate.seed)
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


def cross_fitted_logits(clean: Split, folds: int, seed: int) -> Floats:
    """Logits recalibrated, each fold of patients by what the other folds gave.

    Where they allow no recalibration (the classes are apart), the logits stay as they are.
    """
    fold = _folds(clean, folds, seed)
    recalibrated = clean.logits.copy()
    for number in range(folds):
        inside, others = fold == number, fold != number
        fitted = calibration.fit(clean.labels[others], clean.logits[others])
        if fitted:
            recalibrated[inside] = fitted(clean.logits[inside])
    return recalibrated


def _compare(
    candidate: Validation, rivals: dict[str, Validation], gate: Gate, evaluate: Evaluate
) -> tuple[str, list[Rule]]:
    """AUC and log loss against the rival with the best AUC, paired, on the pictures that both have."""
    shared = {version: _shared(candidate, rival) for version, rival in rivals.items()}
    enough = {version: pair for version, pair in shared.items() if _patients(pair[0]) >= gate.min_patients}
    if not enough:
        most = max(shared, key=lambda version: _patients(shared[version][0]))
        found = (
            f"{_patients(shared[most][0])} patients of the rarer class held out by both; at least {gate.min_patients}"
        )
        return most, [Rule("comparison possible", False, None, None, None, found)]
    samples = {version: _draw(rival, evaluate) for version, (_, rival) in enough.items()}
    areas = {
        version: bootstrap.auc(rival.clean.labels, rival.clean.logits, samples[version])
        for version, (_, rival) in enough.items()
    }
    best = max(enough, key=lambda version: areas[version][0])
    ours, theirs = (one.clean for one in enough[best])
    labels, sample = ours.labels, samples[best]
    on = f"{len(set(ours.patients))} patients, against {best}"
    gain = bootstrap.auc(labels, ours.logits, sample) - areas[best]
    bound = bootstrap.lower_bound(gain)
    rules = [_rule("AUC", bound >= -gate.auc_margin, gain, bound, -gate.auc_margin, on)]
    losses = [_log_loss(labels, cross_fitted_logits(one, gate.folds, evaluate.seed), sample) for one in (ours, theirs)]
    worse = losses[0] - losses[1]
    bound = bootstrap.upper_bound(worse)
    rules.append(_rule("log loss", bound <= gate.log_loss_margin, worse, bound, gate.log_loss_margin, on))
    return best, rules


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


def _log_loss(labels: Bools, logits: Floats, sample: Sample) -> Floats:
    losses = np.logaddexp(0, np.where(labels, -logits, logits))
    return bootstrap.divide(sample.totals(losses), sample.totals(np.ones(len(labels))))


def _draw(validation: Validation, evaluate: Evaluate) -> Sample:
    return bootstrap.draw(validation.clean.labels, validation.clean.patients, evaluate.resamples, evaluate.seed)


def _folds(clean: Split, folds: int, seed: int) -> np.ndarray:
    """A fold for each picture, int `[pictures]`: patients dealt out within their class, so that each fold has both."""
    rng = np.random.default_rng(seed)
    ill = {patient for patient, label in zip(clean.patients, clean.labels, strict=True) if label}
    place: dict[str, int] = {}
    for group in (ill, set(clean.patients) - ill):
        place |= {patient: number % folds for number, patient in enumerate(rng.permutation(sorted(group)))}
    return np.array([place[patient] for patient in clean.patients])


def _shared(candidate: Validation, rival: Validation) -> tuple[Validation, Validation]:
    """Both, narrowed to the pictures that both have with the same label; the same order."""
    known = dict(zip(rival.clean.paths, rival.clean.labels, strict=True))
    common = {
        path
        for path, label in zip(candidate.clean.paths, candidate.clean.labels, strict=True)
        if path in known and known[path] == label
    }
    ours, theirs = (
        one.take(np.array([path in common for path in one.clean.paths], dtype=bool)) for one in (candidate, rival)
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
