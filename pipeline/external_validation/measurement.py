"""What the champion's answers to labelled images are worth: metrics with intervals, rejections, calibration, a local threshold.

Any number of images from one on: what is undefined for them (an AUC of one class, an interval over one patient) is null.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.evaluation import bootstrap, calibration, metrics, operating
from pipeline.external_validation.answers import REJECTED, Answer
from pipeline.external_validation.labels import Labelled
from pipeline.settings import Evaluate

AGES = (0, 1, 6, 18, 40, 60)  # years at which a band of ages begins, newborns and infants first
WORST = 1e3  # a logit beyond every answered one
ALMOST = 1e-7  # probabilities are held inside (0, 1), where they have a logit


@dataclass(frozen=True)
class Case:
    """A labelled image and its answer."""

    labelled: Labelled
    answer: Answer


SUBGROUPS: dict[str, Callable[[Labelled], str]] = {
    "views": lambda labelled: labelled.view,
    "sexes": lambda labelled: labelled.sex,
    "ages": lambda labelled: _age_band(labelled),
}


def measure(cases: Sequence[Case], thresholds: Mapping[str, float], options: Evaluate) -> dict[str, Any]:
    """All metrics of at least one image; a metric is a list of value, low and high (95 %, bootstrap by patient within class).

    Answered images give the metrics; `with_refused` tells them when what the input check rejects is answered all the same.
    """
    answered = [case for case in cases if case.answer.status == "answered"]
    readable = [case for case in cases if case.answer.score is not None]
    report = {
        "films": len(cases),
        "patients": len({case.labelled.patient for case in cases}),
        "copies": _copies(cases),
        "refusals": dict(sorted(Counter(case.answer.error for case in cases if case.answer.error).items())),
        "share_refused_by_guard": _rejected_share(cases, options),
        "share_indeterminate": _indeterminate_share(answered, thresholds, options),
        "accepted": _figures(answered, thresholds, options),
        "with_refused": _figures(readable, thresholds, options),
        "refused_as_errors": _as_errors(cases, thresholds, options),
        "local_threshold": _local(answered, options),
        "reliability": _reliability(answered, options),
    }
    for name, group_of in SUBGROUPS.items():
        groups = [group_of(case.labelled) for case in cases]
        if len(set(groups)) > 1:
            report[name] = {
                group: _of_group(cases, groups, group, thresholds, options) for group in sorted(set(groups))
            }
    return report


def _copies(cases: Sequence[Case]) -> dict[str, int]:
    """Files that are byte for byte another one of the table, and those among them that stand under both labels."""
    labels: dict[str, list[bool]] = {}
    for case in cases:
        if case.answer.sha256:
            labels.setdefault(case.answer.sha256, []).append(case.labelled.pneumonia)
    copied = [file_labels for file_labels in labels.values() if len(file_labels) > 1]
    return {
        "files": sum(map(len, copied)),
        "under_both_labels": sum(len(file_labels) for file_labels in copied if len(set(file_labels)) > 1),
    }


def _of_group(
    cases: Sequence[Case], groups: Sequence[str], group: str, thresholds: Mapping[str, float], options: Evaluate
) -> dict[str, Any]:
    """The images of one group: those that were answered, all that could be read, and rejections as errors."""
    seen = [case for case, name in zip(cases, groups, strict=True) if name == group]
    answered = [case for case in seen if case.answer.status == "answered"]
    readable = [case for case in seen if case.answer.score is not None]
    return {
        "films": len(seen),
        "refused": len(seen) - len(answered),
        **_figures(answered, thresholds, options),
        "with_refused": _figures(readable, thresholds, options),
        "refused_as_errors": _as_errors(seen, thresholds, options),
    }


def _as_errors(cases: Sequence[Case], thresholds: Mapping[str, float], options: Evaluate) -> dict[str, Any]:
    """What a reader meets who gets no answer to some images: each of them counts as the worst answer that there is."""
    labels = np.array([case.labelled.pneumonia for case in cases], dtype=bool)
    answered = np.array([case.answer.status == "answered" for case in cases], dtype=bool)
    logits = np.where(labels, -WORST, WORST)
    logits[answered] = _arrays([case for case in cases if case.answer.status == "answered"])[1]
    sample = _sample(cases, options)
    estimates = {"auc": bootstrap.auc(labels, logits, sample)}
    for point, threshold in thresholds.items():
        decided = metrics.decisions(labels, logits, sample, calibration.logit(threshold))
        estimates |= {f"{name}_at_{point}": decided[name] for name in ("accuracy", "sensitivity", "specificity")}
    certain = _has_an_interval(cases)
    return {name: _numbers(bootstrap.interval(value), certain) for name, value in estimates.items()}


def _age_band(labelled: Labelled) -> str:
    """The band of years that an image's age lies in."""
    if labelled.age is None:
        return "unknown"
    for start, following in pairwise(AGES):
        if labelled.age < following:
            return f"{start} to {following - 1}" if start else f"under {following}"
    return f"{AGES[-1]} and over"


def _figures(cases: Sequence[Case], thresholds: Mapping[str, float], options: Evaluate) -> dict[str, Any]:
    """Images of each class, and the same metrics whatever they are: null where undefined."""
    labels, logits = _arrays(cases)
    counts: dict[str, Any] = {"normal": int(np.sum(~labels)), "pneumonia": int(np.sum(labels))}
    names = ["auc", "log_loss", "brier", "calibration_intercept", "calibration_slope"]
    names += [f"{name}_at_{point}" for point in thresholds for name in ("sensitivity", "specificity")]
    if not cases:
        return counts | {name: [None, None, None] for name in names}
    sample = _sample(cases, options)
    estimates = {"auc": bootstrap.auc(labels, logits, sample), **metrics.probabilities(labels, logits, sample)}
    for point, threshold in thresholds.items():
        decided = metrics.decisions(labels, logits, sample, calibration.logit(threshold))
        estimates |= {f"{name}_at_{point}": decided[name] for name in ("sensitivity", "specificity")}
    certain = _has_an_interval(cases)
    return counts | {name: _numbers(bootstrap.interval(estimates[name]), certain) for name in names}


def _rejected_share(cases: Sequence[Case], options: Evaluate) -> list[float | None]:
    """The share of the images that the input check rejects, with its interval by patient."""
    rejected = np.array([case.answer.error == REJECTED for case in cases], dtype=np.float64)
    return _numbers(bootstrap.mean(rejected, _sample(cases, options)), _has_an_interval(cases))


def _indeterminate_share(
    cases: Sequence[Case], thresholds: Mapping[str, float], options: Evaluate
) -> list[float | None]:
    """The share of the answered images between the thresholds, with its interval by patient."""
    if not cases:
        return [None, None, None]
    low, high = min(thresholds.values()), max(thresholds.values())
    between = np.array([low <= (case.answer.score or 0) < high for case in cases], dtype=np.float64)
    return _numbers(bootstrap.mean(between, _sample(cases, options)), _has_an_interval(cases))


def _local(cases: Sequence[Case], options: Evaluate) -> dict[str, Any] | None:
    """A sensitive threshold of the site's own: fitted on one half of the patients, measured on the other."""
    halves: tuple[list[Case], list[Case]] = ([], [])
    for case in cases:
        halves[hashlib.sha256(case.labelled.patient.encode()).digest()[0] % 2].append(case)
    labels, logits = _arrays(halves[0])
    if len(set(labels.tolist())) < 2:
        return None
    logit_threshold = operating.sensitive(labels, logits, _sample(halves[0], options), options.sensitive)
    if logit_threshold is None:
        return None
    threshold = float(calibration.sigmoid(np.float64(logit_threshold)))
    measured = _figures(halves[1], {"local": threshold}, options)
    return {"threshold": threshold, "sensitivity_bound": options.sensitive, "fitted_on": len(halves[0]), **measured}


def _reliability(cases: Sequence[Case], options: Evaluate) -> list[dict[str, float | None]]:
    if not cases:
        return []
    points = calibration.reliability(*_arrays(cases), _sample(cases, options))
    return [{key: value if np.isfinite(value) else None for key, value in point.items()} for point in points]


def _sample(cases: Sequence[Case], options: Evaluate) -> bootstrap.Sample:
    labels, _ = _arrays(cases)
    return bootstrap.draw(labels, [case.labelled.patient for case in cases], options.resamples, options.seed)


def _arrays(cases: Sequence[Case]) -> tuple[np.ndarray, np.ndarray]:
    """Labels bool and logits float64 `[cases]`; NaN where there is no score."""
    probabilities = np.array([case.answer.score for case in cases], dtype=np.float64).clip(ALMOST, 1 - ALMOST)
    labels = np.array([case.labelled.pneumonia for case in cases], dtype=bool)
    return labels, np.log(probabilities / (1 - probabilities))


def _has_an_interval(cases: Sequence[Case]) -> bool:
    """Whether each class that is there has two patients: drawing one patient again and again says nothing of chance."""
    patients: dict[bool, set[str]] = {}
    for case in cases:
        patients.setdefault(case.labelled.pneumonia, set()).add(case.labelled.patient)
    return all(len(members) > 1 for members in patients.values())


def _numbers(estimate: Sequence[float], certain: bool) -> list[float | None]:
    value, *bounds = (round(float(number), 6) if np.isfinite(number) else None for number in estimate)
    return [value, *(bounds if certain else (None, None))]
