"""The profile `track`: the committed study published to MLflow in its container, as `make track` does."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.containers_fixture import ROOT, Stack, stack

pytestmark = pytest.mark.containers


@pytest.fixture(scope="module")
def track() -> Iterator[Stack]:
    with stack("track") as made:
        made.up(seconds=180)
        yield made


def test_it_takes_make_track_and_keeps_it(track: Stack) -> None:
    recipe = re.search(r"^track:.*\n\t@\$\(RUN\) (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    address = track.address("mlflow", 5000)
    done = subprocess.run(
        [sys.executable, "-m", recipe[1]],
        cwd=ROOT, env={**os.environ, "MLFLOW_TRACKING_URI": address}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    committed = len(list((ROOT / "predictions").glob("*/run.json")))
    before = runs(address)
    assert before > committed > 0  # one parent, one child a training
    track.compose("restart", "mlflow")
    track.up(seconds=180)
    assert runs(track.address("mlflow", 5000)) == before


def test_it_takes_no_other_host_and_no_root(track: Stack) -> None:
    address = track.address("mlflow", 5000)
    question = f"{address}/api/2.0/mlflow/experiments/search?max_results=1"
    assert httpx.get(question, timeout=30).status_code == 200
    assert httpx.get(question, headers={"Host": "evil.example"}, timeout=30).status_code == 403
    assert track.inside("mlflow", "id", "-u").strip() == "1000"


def runs(address: str) -> int:
    """How many runs the server has."""
    answer = httpx.post(f"{address}/api/2.0/mlflow/experiments/search", json={"max_results": 100}, timeout=60).json()
    identifiers = [experiment["experiment_id"] for experiment in answer["experiments"]]
    wanted = {"experiment_ids": identifiers, "max_results": 1000}
    return len(httpx.post(f"{address}/api/2.0/mlflow/runs/search", json=wanted, timeout=60).json()["runs"])
