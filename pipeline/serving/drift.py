"""Have the images changed? The last answers of the log against the site's own first ones, or its profile's images.

    python -m pipeline.serving.drift        exits 1 when they differ by more than `serve.drift_limit`

The measure is the population stability index over tenths of the first answers' probabilities: the sum over bins of
(now - then) * ln(now / then) (Siddiqi, Credit Risk Scorecards, 2006; below 0.1 no change, above 0.2 a change). With
SERVE_PROFILE (serve.profile) the tenths are those of the profile's images, which may be few: the limit is then at least what
chance alone passes once in a hundred times, a chi-squared over both numbers of images (Yurdakul and Naranjo, Journal of Risk
Model Validation 2020).
"""

import sys
from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.serving import journal, profile
from pipeline.serving.profile import Profile
from pipeline.serving.settings import load_serve

BINS = 10
CHANCE = 21.666  # the 99th percentile of chi-squared with 9 degrees of freedom


def stability_index(first: np.ndarray, last: np.ndarray) -> float:
    """Population stability index of two samples of probabilities, float [n] and [m]; each bin counts half an answer more."""
    edges = tenths(first)
    return index_of(counts(edges, first), counts(edges, last))


def tenths(sample: np.ndarray) -> np.ndarray:
    """The nine edges between the tenths of a sample, float [n]."""
    return np.quantile(sample, np.linspace(0, 1, BINS + 1)[1:-1])


def counts(edges: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """How many of a sample, float [n], lie in each bin, int [10]; a value at an edge lies above it."""
    return np.bincount(np.searchsorted(edges, sample, side="right"), minlength=BINS)


def index_of(then: np.ndarray, now: np.ndarray) -> float:
    """The index of two samples' counts, int [10] each; each bin counts half an answer more."""
    first, last = ((each + 0.5) / (each + 0.5).sum() for each in (then, now))
    return float(np.sum((last - first) * np.log(last / first)))


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


def read_last(path: Path, window: int, version: str) -> np.ndarray:
    """The last `window` probabilities that the champion `version` gave, or as many as there are.

    Raises:
        ProjectError: there is no log, or too few answers.
    """
    if not path.exists():
        raise ProjectError(f"{path}: no log of answers (set serve.log or SERVE_LOG, and serve)")
    with journal.connect(path) as connection:
        asked = "SELECT probability FROM answers WHERE version = ? ORDER BY id DESC LIMIT ?"
        values = np.array([row[0] for row in connection.execute(asked, (version, window))])
    if len(values) < window // 2:
        raise ProjectError(f"{path}: {len(values)} answers of {version}; {window // 2} are needed for a comparison")
    return values


def with_profile(site_profile: Profile, last: np.ndarray, limit: float) -> bool:
    """Compare the last answers with the profile's images, say what was found; whether it passes the limit."""
    edges, then = np.array(site_profile.scores.edges), np.array(site_profile.scores.counts)
    index = index_of(then, counts(edges, last))
    limit = max(limit, CHANCE * (1 / then.sum() + 1 / len(last)))
    changed = index > limit
    print(
        f"{len(last)} last answers against the {then.sum()} images of site profile {site_profile.version}: "
        f"population stability index {index:.3f}, limit {limit:.3g}: {'CHANGED' if changed else 'no change'}"
    )
    return changed


def main() -> None:
    """Compare, say what was found, exit 1 past the limit."""
    serve = load_serve()
    if serve.log is None:
        raise ProjectError("no log of answers: set serve.log in params.yaml or SERVE_LOG")
    if serve.profile:
        site_profile = profile.read(serve.profile)
        last = read_last(paths.ROOT / serve.log, serve.drift_window, site_profile.champion)
        sys.exit(int(with_profile(site_profile, last, serve.drift_limit)))
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
