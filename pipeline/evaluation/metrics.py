"""Metrics of one set of images, each as replicates: the metric, then its value in every resample.

Positive is pneumonia. Sensitivity is the recall of pneumonia, specificity the recall of normal; the study's
"specificity" is precision and its "AUC" balanced accuracy, and both appear here under their own names.
"""

import numpy as np

from pipeline.evaluation import bootstrap, calibration
from pipeline.evaluation.bootstrap import Bools, Floats, Sample, divide

DECISIONS = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv")
FIXED = 0.95  # the specificity (sensitivity) at which sensitivity (specificity) is read off the ROC curve


def confusion(labels: Bools, logits: Floats, threshold: float) -> dict[str, int]:
    """Counts at a threshold on the logit: tn, fp, fn, tp."""
    called = logits >= threshold
    return {
        "tn": int(np.sum(~labels & ~called)),
        "fp": int(np.sum(~labels & called)),
        "fn": int(np.sum(labels & ~called)),
        "tp": int(np.sum(labels & called)),
    }


def decisions(labels: Bools, logits: Floats, sample: Sample, threshold: float) -> dict[str, Floats]:
    """What a threshold on the logit does: sensitivity, specificity, predictive values, accuracies."""
    tn, fp, fn, tp = _counts(labels, logits, sample, threshold)
    sensitivity, specificity = divide(tp, tp + fn), divide(tn, tn + fp)
    return {
        "accuracy": divide(tp + tn, tp + tn + fp + fn),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": divide(tp, tp + fp),
        "npv": divide(tn, tn + fn),
    }


def by_class(labels: Bools, logits: Floats, sample: Sample, threshold: float) -> dict[str, Floats]:
    """The study's own metrics: recall, precision and F1 of each class, and their macro averages."""
    tn, fp, fn, tp = _counts(labels, logits, sample, threshold)
    estimates = {
        "recall_normal": divide(tn, tn + fp),
        "recall_pneumonia": divide(tp, tp + fn),
        "precision_normal": divide(tn, tn + fn),
        "precision_pneumonia": divide(tp, tp + fp),
        "f1_normal": divide(2 * tn, 2 * tn + fp + fn),
        "f1_pneumonia": divide(2 * tp, 2 * tp + fp + fn),
    }
    for name in ("recall", "precision", "f1"):
        estimates[f"{name}_macro"] = (estimates[f"{name}_normal"] + estimates[f"{name}_pneumonia"]) / 2
    return estimates


def predictive_values(sensitivity: Floats, specificity: Floats, prevalence: float) -> tuple[Floats, Floats]:
    """PPV and NPV where `prevalence` of the children have pneumonia (Bayes' rule)."""
    true_alarm, false_alarm = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    true_rest, false_rest = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return divide(true_alarm, true_alarm + false_alarm), divide(true_rest, true_rest + false_rest)


def ranking(labels: Bools, logits: Floats, sample: Sample) -> dict[str, Floats]:
    """What depends on the order of the images alone: ROC AUC, and two points of the curve."""
    fpr, tpr, _ = bootstrap.roc(labels, logits, sample)
    return {
        "auc": bootstrap.auc(labels, logits, sample),
        "sensitivity_at_95_specificity": bootstrap.sensitivity_at_specificity(fpr, tpr, FIXED),
        "specificity_at_95_sensitivity": bootstrap.specificity_at_sensitivity(fpr, tpr, FIXED),
    }


def probabilities(labels: Bools, logits: Floats, sample: Sample, slope: Floats | None = None) -> dict[str, Floats]:
    """How good the probabilities are: log loss (the study's loss), Brier score, calibration intercept and slope.

    `slope`: replicates of the calibration slope where they are known; fitting it is most of the work.
    """
    images = sample.totals(np.ones(len(labels)))
    losses = np.logaddexp(0, np.where(labels, -logits, logits))
    errors = (calibration.sigmoid(logits) - labels) ** 2
    return {
        "log_loss": divide(sample.totals(losses), images),
        "brier": divide(sample.totals(errors), images),
        "calibration_intercept": calibration.intercept(labels, logits, sample),
        "calibration_slope": calibration.slope(labels, logits, sample) if slope is None else slope,
    }


def _counts(labels: Bools, logits: Floats, sample: Sample, threshold: float) -> Floats:
    """Weighted tn, fp, fn, tp in every resample, `[4, 1 + resamples]`."""
    called = logits >= threshold
    return sample.totals(np.stack([~labels & ~called, ~labels & called, labels & ~called, labels & called], axis=1)).T
