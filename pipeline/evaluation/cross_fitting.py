"""What logits are worth out of fold: each fold of patients is recalibrated by what the other folds gave."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import bootstrap, calibration
from pipeline.evaluation.bootstrap import Bools, Floats, Sample
from pipeline.evaluation.predictions import Split

Fold = NDArray[np.intp]


@dataclass(frozen=True)
class Scores:
    """AUC, and log loss in nats after recalibration out of fold: replicates `[1 + resamples]`, over all images pooled."""

    auc: Floats
    log_loss: Floats


def scores(split: Split, logits: Mapping[str, Floats], sample: Sample, folds: int, seed: int) -> Scores:
    """Scores of `logits` (`[images]` for each change), pooled over the changes, by patient.

    A recalibration is increasing and so leaves the AUC; it is computed from the logits as they are.
    """
    changes = np.stack(list(logits.values()))
    labels = np.tile(split.labels, len(changes))
    many = sample.take(np.tile(np.arange(len(split.labels)), len(changes)))
    out_of_fold = recalibrated(split.labels, changes, deal(split, folds, seed))
    return Scores(
        bootstrap.auc(labels, changes.ravel(), many),
        _mean(_log_losses(split.labels, out_of_fold).sum(axis=0), sample, len(changes)),
    )


def deal(split: Split, folds: int, seed: int) -> Fold:
    """A fold for each image, int `[images]`: patients dealt out within their class, so that each fold has both."""
    rng = np.random.default_rng(seed)
    ill = {patient for patient, label in zip(split.patients, split.labels, strict=True) if label}
    place: dict[str, int] = {}
    for group in (ill, set(split.patients) - ill):
        place |= {patient: number % folds for number, patient in enumerate(rng.permutation(sorted(group)))}
    return np.array([place[patient] for patient in split.patients])


def recalibrated(labels: Bools, logits: Floats, fold: Fold) -> Floats:
    """Logits `[changes, images]`, each fold recalibrated by all changes of the other folds.

    Where they allow no recalibration (the classes are apart), the logits stay as they are.
    """
    moved = logits.copy()
    for number in np.unique(fold):
        inside, others = fold == number, fold != number
        fitted = calibration.fit(np.tile(labels[others], len(logits)), logits[:, others].ravel())
        if fitted:
            moved[:, inside] = fitted(logits[:, inside])
    return moved


def _log_losses(labels: Bools, logits: Floats) -> Floats:
    return np.logaddexp(0, np.where(labels, -logits, logits))


def _mean(summed: Floats, sample: Sample, changes: int) -> Floats:
    """Mean over images and changes, of values that are summed over the changes."""
    return bootstrap.divide(sample.totals(summed), changes * sample.totals(np.ones(len(summed))))
