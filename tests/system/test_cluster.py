"""Retraining over two workers on real engines: Redis, PostgreSQL, an S3 API. `.ci/run` installs them."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.retraining_fixture import running

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-airflow" / "bin" / "python"
RUNS = {
    f"custom_cnn-{group}-{seed}": {
        "network": "custom_cnn",
        "group": group,
        "augmentation": recipe,
        "seed": seed,
        "weights": "random",
    }
    for group, recipe in (("raw", "none"), ("augmented", "geometric"))
    for seed in (0, 1)
}
PARAMS = {
    "epochs": 3,
    "settings": {
        "ingest": {"dataset": "phantom", "phantom": {"train": 240, "val": 4, "test": 40}},
        "train": {"runs": RUNS},
        "evaluate": {"resamples": 50},
    },
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """PostgreSQL runs as a user of its own where the tests run as root; pytest shuts its folders to others, again and again."""
    with tempfile.TemporaryDirectory(prefix="cluster-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.engines
@pytest.mark.slow
def test_two_workers_one_killed_the_database_away_leave_the_lock_of_a_serial_run(folder: Path) -> None:
    """About 6 minutes on two free cores: four trainings through Airflow, the database away for a while, one
    training begun twice, then the same four in a row."""
    missing = [name for name in ("redis-server",) if shutil.which(name) is None]
    missing += [] if list(Path("/usr/lib/postgresql").glob("*/bin/postgres")) else ["postgresql"]
    if missing:
        pytest.skip(f"NOT TESTED: retraining over several workers; apt-get install {' '.join(missing)} and run again")
    if not PYTHON.exists():
        pytest.fail("Airflow's environment is missing: run `make .venv-airflow/.ready` (make test does)")
    script, options = ROOT / "scripts" / "cluster.py", ["--outage", "--kill", "--serial"]
    command = [PYTHON, script, folder / "cluster", json.dumps(PARAMS), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    begun = dict(re.findall(r"(custom_cnn-\S+) +success +worker-[12] +(\d) ", done.stdout))
    assert set(begun) == set(RUNS), done.stdout
    assert sorted(begun.values()) == ["1", "1", "1", "2"], "all but the killed one are begun once"
    assert re.search(r"dvc.lock equals the serial one, as parsed YAML, in all \d\d stages", done.stdout)
    assert "the database is back after 30 s" in done.stdout
    assert "killed worker-2" in done.stdout
    assert not running(folder), "something was left running"
