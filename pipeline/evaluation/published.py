"""The study's published metrics on the official test set (234 normal, 390 pneumonia), as constants.

Known of those runs: training used 5,292 images (3,933 + 1,359) where today's data set has 5,216; validation was the
16-image folder; one network object was trained on the three groups one after the other, so `balanced` began from
`augmented`'s weights and `raw` from both; "AUC" was computed from rounded predictions. Metrics are as printed, also
where they disagree with their own counts (VGG16 balanced: "AUC" .807, counts .876).
"""

from dataclasses import dataclass

from pipeline.evaluation.bootstrap import wilson

DATASET = "chest-xray-pneumonia"  # the only data set beside which these metrics may stand
OWN = "custom_cnn"  # the study's own network: Table 2, figures 9 and 10; Table 3, figures 11 and 12 are of the others
GENERATED = "phantom"  # what generated radiographs are called; any other name is of images that somebody brought
Pair = tuple[float, float]  # normal, pneumonia


@dataclass(frozen=True)
class Published:
    """One published row: metrics as printed, and the confusion counts."""

    accuracy: float
    loss: float
    recall: Pair
    precision: Pair
    f1: Pair
    auc: float | None
    counts: tuple[int, int, int, int]  # tn, fp, fn, tp

    def interval(self, metric: str) -> tuple[float, float]:
        """Wilson's interval of accuracy, recall or precision (of normal or pneumonia) from the counts."""
        tn, fp, fn, tp = self.counts
        successes, trials = {
            "accuracy": (tn + tp, tn + fp + fn + tp),
            "recall_normal": (tn, tn + fp),
            "recall_pneumonia": (tp, tp + fn),
            "precision_normal": (tn, tn + fn),
            "precision_pneumonia": (tp, tp + fp),
        }[metric]
        return wilson(successes, trials)


def _row(
    accuracy: float, loss: float, recall: Pair, precision: Pair, f1: Pair, auc: float | None, *counts: int
) -> Published:
    tn, fp, fn, tp = counts
    return Published(accuracy, loss, recall, precision, f1, auc, (tn, fp, fn, tp))


ROWS: dict[tuple[str, str], Published] = {
    ("custom_cnn", "augmented"): _row(0.9102, 0.2555, (0.78, 0.99), (0.97, 0.88), (0.87, 0.93), 0.885, 183, 51, 5, 385),
    ("custom_cnn", "balanced"): _row(0.9263, 0.24, (0.85, 0.97), (0.95, 0.91), (0.90, 0.94), 0.91, 198, 36, 10, 380),
    ("custom_cnn", "raw"): _row(0.7708, 1.223, (0.39, 1.00), (0.99, 0.73), (0.56, 0.84), 0.695, 92, 142, 1, 389),
    ("resnet50", "augmented"): _row(0.9439, 0.2152, (0.88, 0.98), (0.97, 0.93), (0.92, 0.96), None, 205, 29, 6, 384),
    ("resnet50", "balanced"): _row(0.9455, 0.1720, (0.92, 0.96), (0.93, 0.95), (0.93, 0.96), 0.946, 216, 18, 16, 374),
    ("resnet50", "raw"): _row(0.8141, 1.4269, (0.51, 1.00), (0.99, 0.77), (0.67, 0.87), None, 119, 115, 1, 389),
    ("densenet121", "augmented"): _row(0.9439, 0.2586, (0.87, 0.99), (0.98, 0.93), (0.92, 0.96), None, 203, 31, 4, 386),
    ("densenet121", "balanced"): _row(0.9471, 0.3573, (0.88, 0.99), (0.98, 0.93), (0.93, 0.96), 0.937, 205, 29, 4, 386),
    ("densenet121", "raw"): _row(0.8526, 1.1561, (0.61, 1.00), (0.99, 0.81), (0.76, 0.89), None, 143, 91, 1, 389),
    ("vgg16", "augmented"): _row(0.8686, 0.4297, (0.69, 0.98), (0.95, 0.84), (0.80, 0.90), None, 161, 73, 9, 381),
    ("vgg16", "balanced"): _row(0.9038, 0.4140, (0.76, 0.99), (0.97, 0.88), (0.86, 0.93), 0.807, 179, 55, 5, 385),
    ("vgg16", "raw"): _row(0.7676, 2.7321, (0.39, 0.99), (0.98, 0.73), (0.56, 0.84), None, 91, 143, 2, 388),
    ("inception_v3", "augmented"): _row(
        0.9135, 0.2419, (0.78, 0.99), (0.99, 0.88), (0.87, 0.93), None, 182, 52, 2, 388
    ),
    ("inception_v3", "balanced"): _row(
        0.9439, 0.2329, (0.86, 0.99), (0.99, 0.92), (0.92, 0.96), 0.923, 202, 32, 3, 387
    ),
    ("inception_v3", "raw"): _row(0.7949, 0.8042, (0.47, 0.99), (0.96, 0.76), (0.63, 0.86), None, 110, 124, 4, 386),
    ("xception", "augmented"): _row(0.9375, 0.2294, (0.85, 0.99), (0.98, 0.92), (0.91, 0.95), None, 199, 35, 4, 386),
    ("xception", "balanced"): _row(0.9519, 0.2899, (0.90, 0.98), (0.97, 0.94), (0.93, 0.96), 0.947, 211, 23, 7, 383),
    ("xception", "raw"): _row(0.8093, 1.5381, (0.50, 1.00), (0.99, 0.77), (0.66, 0.87), None, 116, 118, 1, 389),
}

NETWORKS = frozenset(network for network, _ in ROWS)
GROUPS = frozenset(group for _, group in ROWS)
