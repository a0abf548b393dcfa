"""Have the pictures changed? The last answers of the log against the site's own first ones.

    python -m pipeline.serving.drift        exits 1 when they differ by more than `serve.drift_limit`

The measure is the population stability index over tenths of the first answers' probabilities: the sum over bins of
(now - then) * ln(now / then) (Siddiqi, Credit Risk Scorecards, 2006; below 0.1 no change, above 0.2 a change).
"""

import sys
from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.serving import journal
from pipeline.serving.settings import load_serve

BINS = 10


def stability_index(first: np.ndarray, last: np.ndarray) -> float:
    """Population stability index of two samples of probabilities, float [n] and [m]; each bin counts half an answer more."""
    edges = np.quantile(first, np.linspace(0, 1, BINS + 1)[1:-1])
    shares = []
    for sample in (first, last):
        counts = np.bincount(np.searchsorted(edges, sample, side="right"), minlength=BINS) + 0.5
        shares.append(counts / counts.sum())
    then, now = shares
    return float(np.sum((now - then) * np.log(now / then)))


def read(path: Path, window: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last `window` probabilities in the log; they do not overlap.

    Raises:
        ProjectError: there is no log, or too few answers.
    """
    if not path.exists():
        raise ProjectError(f"{path}: no log of answers (set serve.log or SERVE_LOG, and serve)")
    with journal.connect(path) as connection:
        values = np.array([row[0] for row in connection.execute("SELECT probability FROM answers ORDER BY id")])
    needed = window + window // 2  # with fewer, chance alone comes near the usual limit
    if len(values) < needed:
        raise ProjectError(f"{path}: {len(values)} answers; {needed} are needed for a comparison")
    return values[:window], values[max(window, len(values) - window) :]


def main() -> None:
    """Compare, say what was found, exit 1 past the limit."""
    serve = load_serve()
    if serve.log is None:
        raise ProjectError("no log of answers: set serve.log in params.yaml or SERVE_LOG")
    first, last = read(paths.ROOT / serve.log, serve.drift_window)
    index = stability_index(first, last)
    changed = index > serve.drift_limit
    print(
        f"{len(last)} last answers against the first {len(first)}: population stability index {index:.3f}, "
        f"limit {serve.drift_limit:g}: {'CHANGED' if changed else 'no change'}"
    )
    print(f"mean probability {first.mean():.3f} then, {last.mean():.3f} now")
    if changed:
        sys.exit(1)


if __name__ == "__main__":
    run("drift", main)
