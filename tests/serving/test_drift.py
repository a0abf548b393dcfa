"""The log of answers, and what is said of a change."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ProjectError
from pipeline.serving import drift, journal

CHECKOUT = Path(__file__).resolve().parents[2]


def write(path: Path, probabilities: np.ndarray) -> None:
    log = journal.Journal(path)
    for probability in probabilities:
        log.add(b"pixels", float(probability), "1")
    log.close()


def test_index_of_two_known_samples() -> None:
    # Ten bins of 10 answers each; then all in the last bin: 9 bins of 0.5 of 105, one of 100.5 of 105.
    first = np.arange(100) / 100
    last = np.full(100, 0.99)
    then, few, many = 10.5 / 105, 0.5 / 105, 100.5 / 105
    expected = 9 * (few - then) * np.log(few / then) + (many - then) * np.log(many / then)
    assert drift.stability_index(first, last) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=20, max_size=200))
def test_index_is_zero_for_the_same_sample_and_never_negative(values: list[float]) -> None:
    sample = np.array(values)
    assert drift.stability_index(sample, sample) == pytest.approx(0)
    assert drift.stability_index(sample, sample[: len(sample) // 2]) >= 0


def test_log_keeps_hash_probability_and_version_alone(tmp_path: Path) -> None:
    write(tmp_path / "log.sqlite", np.array([0.25]))
    with journal.connect(tmp_path / "log.sqlite") as connection:
        rows = connection.execute("SELECT picture, probability, version FROM answers").fetchall()
        columns = [row[1] for row in connection.execute("PRAGMA table_info(answers)")]
    assert rows == [(hashlib.sha256(b"pixels").hexdigest(), 0.25, "1")]
    assert columns == ["id", "time", "picture", "probability", "version"]


def test_first_and_last_do_not_overlap(tmp_path: Path) -> None:
    write(tmp_path / "log.sqlite", np.arange(170) / 170)
    first, last = drift.read(tmp_path / "log.sqlite", 100)
    assert (len(first), len(last)) == (100, 70)
    assert first.max() < last.min()
    with pytest.raises(ProjectError, match="170 answers; 180 are needed"):
        drift.read(tmp_path / "log.sqlite", 120)


@pytest.mark.parametrize(("moved", "status"), [(0.0, 0), (0.4, 1)])
def test_command_exits_1_past_the_limit(tmp_path: Path, moved: float, status: int) -> None:
    random = np.random.default_rng(0)
    shutil.copy(CHECKOUT / "params.yaml", tmp_path)
    write(tmp_path / "log.sqlite", np.r_[random.uniform(0, 0.6, 500), random.uniform(moved, moved + 0.6, 500)])
    environment = {**os.environ, "PIPELINE_ROOT": str(tmp_path), "SERVE_LOG": "log.sqlite", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "pipeline.serving.drift"]
    told = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == status, told.stderr
    assert ("CHANGED" if status else "no change") in told.stdout
