"""Answers of networks to validation images, drawn: two networks share what makes a child hard to read."""

from statistics import NormalDist

import numpy as np

from pipeline.evaluation.predictions import Split
from pipeline.registry.validation_predictions import Validation
from pipeline.robustness.families import UNSEEN

# How many patients have how many images each, normal and pneumonia: as in the real validation set (121 + 228 patients).
REAL = (((1, 115), (3, 6)), ((1, 165), (2, 29), (3, 10), (4, 5), (5, 6), (6, 6), (7, 4), (8, 2), (9, 1)))
SHARED = 0.88  # correlation of two real networks' logits within a class
CHILD = 0.4  # of a network's deviation, the part that all images of a child have in common


def networks(seed: int, *aucs: float, stressed: float = 0.97, sizes=REAL) -> list[Validation]:
    """What networks with these true AUCs say of the same validation images.

    The AUC holds for the images as they are and under each change of the family that decides; under the first family all
    networks have the same one, `stressed`.
    """
    rng = np.random.default_rng(seed)
    labels, patients = [], []
    for label, groups in enumerate(sizes):
        for images, children in groups:
            for _ in range(children):
                patients += [f"{'ill' if label else 'well'}-{len(set(patients)):03}"] * images
                labels += [bool(label)] * images
    truth = np.array(labels)
    names, child = np.unique(patients, return_inverse=True)

    def deviation() -> np.ndarray:
        return np.sqrt(CHILD) * rng.normal(size=len(names))[child] + np.sqrt(1 - CHILD) * rng.normal(size=len(truth))

    common = deviation()
    answered = []
    for auc in aucs:
        individual = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * deviation()
        clean = _apart(auc) * (truth - 0.5) + individual
        stress = {
            change: _apart(stressed) * (truth - 0.5) + 0.8 * individual + 0.6 * deviation()
            for change in ("dark", "wide")
        }
        unseen = {
            change: _apart(auc) * (truth - 0.5) + 0.8 * individual + 0.6 * deviation() for change in UNSEEN.changes
        }
        split = Split(
            paths=[f"train/{place:04}.jpeg" for place in range(len(truth))],
            labels=truth,
            subtypes=["bacterial" if label else "normal" for label in truth],
            patients=patients,
            logits=1.5 * clean,
        )
        scaled = ({change: 1.5 * logits for change, logits in family.items()} for family in (stress, unseen))
        answered.append(Validation(split, *scaled))
    return answered


def _apart(auc: float) -> float:
    """Distance of two normal classes of unit variance with this AUC."""
    return float(np.sqrt(2) * NormalDist().inv_cdf(auc))
