"""Which radiographs are shown: by what was said of them, then by chance, never by how well they look."""

import numpy as np

from pipeline.evaluation.bootstrap import Bools, Floats


def notable(labels: Bools, logits: Floats, threshold: float, each: int) -> dict[str, np.ndarray]:
    """Rows of the images right and wrong furthest from the logit `threshold`, and of the others nearest to it, by title.

    Right ones come half from each class. No image is shown twice. Fewer than `each` where there are no more.
    """
    distance = np.abs(logits - threshold)
    right = (logits >= threshold) == labels
    most = np.argsort(-distance, kind="stable")
    first = [most[(right & (labels == label))[most]] for label in (False, True)]
    sure = np.concatenate([first[0][: each // 2], first[1][: each - each // 2]])
    wrong = most[~right[most]][:each]
    rest = most[~np.isin(most, np.concatenate([sure, wrong]))]
    return {
        "right, furthest from the threshold": sure,
        "wrong, furthest from the threshold": wrong,
        "the others nearest to the threshold": rest[::-1][:each],
    }


def one_of_each(labels: Bools, seed: int) -> tuple[int, int]:
    """A pneumonia and a normal image, drawn at random."""
    random = np.random.default_rng(seed)
    return int(random.choice(np.flatnonzero(labels))), int(random.choice(np.flatnonzero(~labels)))
