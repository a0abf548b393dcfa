"""Every metric of one run, as replicates, and its flat JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluation import bootstrap, calibration, metrics, operating
from pipeline.evaluation.bootstrap import Floats, Sample
from pipeline.evaluation.predictions import FACTS, Predictions, Split
from pipeline.labels import EVALUATED
from pipeline.settings import Evaluate

UNDEFINED = "undefined"
MIN_AUC = 0.6  # of a run that trained, on validation
ONE_CLASS = 0.99  # of the validation images in one class at the plain threshold: the run did not train
FAMILIES = ("stress", "unseen")  # of changes to the validation images; fields of `Predictions`
COMPARED = ("accuracy", "balanced_accuracy", "sensitivity", "specificity")
GAPS = ("accuracy", "balanced_accuracy", "auc", "sensitivity", "specificity")
Estimates = dict[str, Floats]


@dataclass(frozen=True)
class Samples:
    """The resamples that all runs share, so that every difference between runs is paired."""

    validation: Sample
    test: Sample


def draw(run: Predictions, settings: Evaluate) -> Samples:
    """Draw the resamples of both splits, independently of each other."""
    return Samples(
        bootstrap.draw(run.validation.labels, run.validation.patients, settings.resamples, settings.seed),
        bootstrap.draw(run.test.labels, run.test.patients, settings.resamples, settings.seed + 1),
    )


def thresholds(run: Predictions, samples: Samples, settings: Evaluate) -> dict[str, float | None]:
    """Logit thresholds: "" is the plain one (0.5), `sensitive` and `specific` are fixed on validation patients."""
    split = run.validation
    return {
        "": calibration.logit(settings.threshold),
        "sensitive": operating.sensitive(split.labels, split.logits, samples.validation, settings.sensitive),
        "specific": operating.specific(split.labels, split.logits, samples.validation, settings.specific),
    }


def headline(run: Predictions, samples: Samples, settings: Evaluate) -> Estimates:
    """The few metrics by which runs are compared: on validation, under stress and on test.

    Decisions at the plain threshold, and at the run's own: the sensitive one, fixed on validation patients.
    """
    estimates: Estimates = {f"{family}_auc": _pooled(run, family, samples)[0] for family in FAMILIES}
    logit_thresholds = thresholds(run, samples, settings)
    for name in EVALUATED:
        split, sample = getattr(run, name), getattr(samples, name)
        estimates[f"{name}_auc"] = bootstrap.auc(split.labels, split.logits, sample)
        for suffix in ("", "sensitive"):
            decided = _decisions(split.labels, split.logits, sample, logit_thresholds[suffix])
            estimates |= {f"{name}_{key}{_at(suffix)}": decided[key] for key in COMPARED}
    return estimates


def measure(
    run: Predictions, samples: Samples, settings: Evaluate, fixed: Mapping[str, float] | None = None
) -> tuple[Estimates, dict[str, Any]]:
    """All metrics of a run as replicates, and its plain facts (counts, thresholds, training).

    Args:
        run: its predictions.
        samples: of `draw`.
        settings: section `evaluate`.
        fixed: logit thresholds `sensitive` and `specific`; None for those of `thresholds`.
    """
    logit_thresholds = thresholds(run, samples, settings) | dict(fixed or {})
    recalibration = calibration.fit(run.validation.labels, run.validation.logits)
    estimates: Estimates = {}
    facts: dict[str, Any] = {
        "recalibration_intercept": recalibration.intercept if recalibration else None,
        "recalibration_slope": recalibration.slope if recalibration else None,
        **training(run),
    }
    for suffix, threshold in logit_thresholds.items():
        name = f"threshold_{suffix}" if suffix else "threshold"
        facts[name] = served_score(threshold, recalibration)
        facts[f"{name}_logit"] = threshold
    for name in EVALUATED:
        split, sample = getattr(run, name), getattr(samples, name)
        of_split = _split(split, sample, logit_thresholds, recalibration, settings)
        estimates |= {f"{name}_{key}": value for key, value in of_split.items()}
        facts |= {f"{name}_{key}": value for key, value in _counts(split, logit_thresholds).items()}
        facts[f"{name}_pictures"] = len(split.paths)
        facts[f"{name}_patients"] = len(set(split.patients))
        facts[f"{name}_prevalence"] = number(split.labels.mean())
    estimates |= {f"gap_{key}": estimates[f"validation_{key}"] - estimates[f"test_{key}"] for key in GAPS}
    for family in FAMILIES:
        estimates |= _stress(run, family, samples, logit_thresholds)
    facts["did_not_train"] = did_not_train(
        run.validation.logits, calibration.logit(settings.threshold), estimates["validation_auc"][0]
    )
    return estimates, facts


def did_not_train(logits: Floats, threshold: float, auc: float) -> bool:
    """Whether a run gives one class to nearly every validation image at the plain threshold, or ranks them hardly at all."""
    called = float(np.mean(logits >= threshold))
    return bool(max(called, 1 - called) >= ONE_CLASS or not auc >= MIN_AUC)


def served_score(threshold: float | None, recalibration: calibration.Recalibration | None) -> float | None:
    """A threshold on the scale of the served score, which is the recalibrated probability; as trained where there is none."""
    if threshold is None:
        return None
    logits = np.array([threshold])
    return float(calibration.sigmoid(recalibration(logits) if recalibration else logits)[0])


def training(run: Predictions) -> dict[str, Any]:
    """Epochs to 95 % of the final validation accuracy, and the gap between training and validation, at the last epoch.

    Training accuracy is Keras' running mean over the epoch, with augmentation and dropout on. `steps_at_rate` counts
    the steps of epochs whose learning rate was above 1 % of the first one: after them a network hardly moves.
    """
    history = run.history
    if not len(history["epoch"]):
        return {"epochs_to_95": None, "steps_at_rate": None, "training_accuracy": None, "training_gap": None}
    rated = history["learning_rate"] > 0.01 * history["learning_rate"][0]
    reached = history["val_accuracy"] >= 0.95 * history["val_accuracy"][-1]
    return {
        "epochs_to_95": int(history["epoch"][np.argmax(reached)]),
        "steps_at_rate": round(int(run.facts["steps"]) * float(rated.mean())),
        "training_accuracy": number(history["accuracy"][-1]),
        "training_gap": number(history["accuracy"][-1] - history["val_accuracy"][-1]),
    }


def summary(run: Predictions, estimates: Estimates, facts: dict[str, Any]) -> dict[str, Any]:
    """The flat JSON of a run: each metric with `_low` and `_high`, "undefined" where there is none, and its facts."""
    flat: dict[str, Any] = {key: run.facts[key] for key in FACTS}
    # Thresholds and the recalibration are whole: rounded, they would decide differently.
    flat |= {key: UNDEFINED if value is None else value for key, value in facts.items()}
    for name, replicates in estimates.items():
        value, low, high = bootstrap.interval(replicates)
        flat |= {name: number(value), f"{name}_low": number(low), f"{name}_high": number(high)}
    return flat


def number(value: float | None) -> float | str:
    """Five decimals, so that rounding errors of a machine stay out of the files; "undefined" in place of no number."""
    return UNDEFINED if value is None or not np.isfinite(value) else round(float(value), 5) + 0.0


def _split(
    split: Split,
    sample: Sample,
    logit_thresholds: dict[str, float | None],
    recalibration: calibration.Recalibration | None,
    settings: Evaluate,
) -> Estimates:
    """All metrics of one split."""
    labels, logits = split.labels, split.logits
    plain = logit_thresholds[""]
    assert plain is not None
    estimates = metrics.ranking(labels, logits, sample) | metrics.by_class(labels, logits, sample, plain)
    before = metrics.probabilities(labels, logits, sample)
    estimates |= before
    after = {name: _undefined(sample) for name in before}
    if recalibration:
        # The slope on logits that were multiplied by a number is the slope before, divided by it.
        slope = before["calibration_slope"] / recalibration.slope
        after = metrics.probabilities(labels, recalibration(logits), sample, slope)
    estimates |= {f"{name}_recalibrated": value for name, value in after.items()}
    for suffix, threshold in logit_thresholds.items():
        at = _at(suffix)
        values = _decisions(labels, logits, sample, threshold)
        ppv, npv = metrics.predictive_values(values["sensitivity"], values["specificity"], settings.prevalence)
        percent = f"{100 * settings.prevalence:g}_percent"
        values = values | {f"ppv_{percent}": ppv, f"npv_{percent}": npv}
        estimates |= {f"{name}{at}": value for name, value in values.items()}
    subtypes = np.array(split.subtypes)
    for subtype in ("bacterial", "viral"):
        rows = np.flatnonzero(~labels | (subtypes == subtype))
        part = sample.take(rows)
        estimates[f"{subtype}_auc"] = bootstrap.auc(labels[rows], logits[rows], part)
        for suffix, threshold in logit_thresholds.items():
            decided = _decisions(labels[rows], logits[rows], part, threshold)
            estimates[f"{subtype}_sensitivity{_at(suffix)}"] = decided["sensitivity"]
    return estimates


def _stress(run: Predictions, family: str, samples: Samples, logit_thresholds: dict[str, float | None]) -> Estimates:
    """AUC, sensitivity and specificity under each change of a family and pooled, at thresholds fixed on clean validation."""
    labels, sample = run.validation.labels, samples.validation
    auc, every, many_labels, many_sample = _pooled(run, family, samples)
    estimates = {f"{family}_auc": auc}
    changed: dict[str, Floats] = getattr(run, family)
    if not changed:
        return estimates
    parts = {f"{family}_{change}": (labels, logits, sample) for change, logits in changed.items()}
    for name, (part_labels, logits, part_sample) in parts.items():
        estimates[f"{name}_auc"] = bootstrap.auc(part_labels, logits, part_sample)
    parts[family] = (many_labels, every, many_sample)
    for name, (part_labels, logits, part_sample) in parts.items():
        for suffix, threshold in logit_thresholds.items():
            values = _decisions(part_labels, logits, part_sample, threshold)
            estimates |= {f"{name}_{key}{_at(suffix)}": values[key] for key in ("sensitivity", "specificity")}
    return estimates


def stressed(run: Predictions, samples: Samples) -> tuple[Floats, np.ndarray, Sample]:
    """All copies of the validation images under the first family together: their logits, labels and sample."""
    return _pooled(run, "stress", samples)[1:]


def _pooled(run: Predictions, family: str, samples: Samples) -> tuple[Floats, Floats, np.ndarray, Sample]:
    """AUC over all changed validation images together, undefined where there is none; their logits, labels and sample."""
    changed: dict[str, Floats] = getattr(run, family)
    if not changed:
        return (
            _undefined(samples.validation),
            np.zeros(0),
            np.zeros(0, dtype=bool),
            samples.validation.take(np.zeros(0, dtype=np.intp)),
        )
    logits = np.concatenate(list(changed.values()))
    labels = np.tile(run.validation.labels, len(changed))
    sample = samples.validation.take(np.tile(np.arange(len(run.validation.labels)), len(changed)))
    return bootstrap.auc(labels, logits, sample), logits, labels, sample


def _at(suffix: str) -> str:
    """How the name of a metric ends at one of the thresholds."""
    return f"_at_{suffix}" if suffix else ""


def _decisions(labels: np.ndarray, logits: Floats, sample: Sample, threshold: float | None) -> Estimates:
    """What a threshold decides; undefined where there is no threshold."""
    if threshold is None:
        return {name: _undefined(sample) for name in metrics.DECISIONS}
    return metrics.decisions(labels, logits, sample, threshold)


def _counts(split: Split, logit_thresholds: dict[str, float | None]) -> dict[str, int | None]:
    """Confusion counts at each threshold."""
    counts: dict[str, int | None] = {}
    for suffix, threshold in logit_thresholds.items():
        at = _at(suffix)
        confusion = metrics.confusion(split.labels, split.logits, threshold) if threshold is not None else {}
        counts |= {f"{name}{at}": confusion.get(name) for name in ("tn", "fp", "fn", "tp")}
    return counts


def _undefined(sample: Sample) -> Floats:
    return np.full(len(sample.weights), np.nan)
