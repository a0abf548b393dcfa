"""The statistics of the gate of a change: what counts as a fall."""

from pathlib import Path

import pytest

from pipeline.ci.metrics_gate import compare
from pipeline.errors import ProjectError
from pipeline.evaluation import predictions
from pipeline.evaluation.predictions import Split
from pipeline.settings import MetricsGate
from tests.fake_predictions import Size, image_rows, write_run

MARGINS = MetricsGate(auc=0.01, log_loss=0.02)
SIZES = {"validation": Size(60, 90), "test": Size(5, 5)}


def split(folder: Path, *, seed: int, quality: float = 2.5, rows: int = 0) -> Split:
    run = folder / f"custom_cnn-raw-{seed}-{quality}-{rows}"
    write_run(run, image_rows(SIZES, seed=rows), seed=seed, quality=quality)
    return predictions.read(run).validation


def passed(base: Split, head: Split) -> list[bool]:
    return [verdict.passed for verdict in compare(base, head, MARGINS, resamples=500, seed=0)]


def test_better_passes_and_worse_fails(tmp_path: Path) -> None:
    usual, better, worse = (split(tmp_path, seed=0, quality=quality) for quality in (2.5, 4.0, 0.8))
    assert passed(usual, better) == [True, True]
    assert passed(usual, usual) == [True, True]
    assert passed(usual, worse) == [False, False]


def test_noise_hardly_ever_fails(tmp_path: Path) -> None:
    """Retraining with another seed gives a network as good as the first: it must not be stopped."""
    base = split(tmp_path, seed=0)
    verdicts = [all(passed(base, split(tmp_path, seed=seed))) for seed in range(1, 31)]
    assert sum(verdicts) >= 28


def test_metrics_are_compared_on_the_images_that_both_have(tmp_path: Path) -> None:
    base, head = split(tmp_path, seed=0), split(tmp_path, seed=0, rows=3)
    shared = len(set(base.paths) & set(head.paths))
    assert 0 < shared < len(base.paths)
    verdicts = compare(base, head, MARGINS, resamples=100, seed=0)
    assert all(f"{shared} images" in verdict.why for verdict in verdicts)


def test_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    base = split(tmp_path, seed=0)
    other = Split([f"x{path}" for path in base.paths], base.labels, base.subtypes, base.patients, base.logits)
    with pytest.raises(ProjectError, match="share no validation image"):
        compare(base, other, MARGINS, resamples=10, seed=0)
