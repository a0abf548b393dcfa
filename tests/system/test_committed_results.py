"""What is committed agrees with itself: predictions -> metrics -> tables -> documents. Whatever is there is checked."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from pipeline import dvc, paths, settings
from pipeline.data.tables import read_table
from pipeline.evaluation import predictions, run_metrics
from pipeline.reporting import markdown_blocks

# Another machine's arithmetic may move the last digits; a wrong metric moves more.
CLOSE = {"rel": 1e-4, "abs": 2e-4}


def names() -> list[str]:
    """Runs whose predictions are here."""
    if not paths.PREDICTIONS.is_dir():
        return []
    return sorted(path.parent.name for path in paths.PREDICTIONS.glob("*/run.json"))


def test_runs_and_their_metrics_are_committed_together():
    metrics = sorted(path.stem for path in (paths.METRICS / "runs").glob("*.json"))
    if metrics:
        assert metrics == names()
    tracked = subprocess.run(
        ["git", "ls-files", "predictions", "metrics"], cwd=paths.ROOT, capture_output=True, text=True
    )
    if "metrics/candidate.json" in tracked.stdout:
        assert metrics


@pytest.mark.parametrize("name", names() or [None])
def test_metrics_follow_from_the_predictions(name):
    if name is None or not (paths.METRICS / "runs" / f"{name}.json").exists():
        assert not (paths.METRICS / "candidate.json").exists()
        return
    options = settings.load().evaluate
    run = predictions.read(paths.predictions(name))
    flat = json.loads((paths.METRICS / "runs" / f"{name}.json").read_text(encoding="utf-8"))
    metrics = run_metrics.headline(run, run_metrics.draw(run, options), options)
    again = run_metrics.summary(run, metrics, {})
    for key, value in again.items():
        if key in metrics or key.endswith(("_low", "_high")):
            assert flat[key] == (value if isinstance(value, str) else pytest.approx(value, **CLOSE)), key
        else:
            assert flat[key] == value, key


@pytest.mark.slow
@pytest.mark.parametrize("name", names() or [None])
def test_all_metrics_follow_from_the_predictions(name):
    """Every metric of a run, half a second each."""
    if name is None or not (paths.METRICS / "runs" / f"{name}.json").exists():
        assert not (paths.METRICS / "candidate.json").exists()
        return
    options = settings.load().evaluate
    run = predictions.read(paths.predictions(name))
    flat = json.loads((paths.METRICS / "runs" / f"{name}.json").read_text(encoding="utf-8"))
    again = run_metrics.summary(run, *run_metrics.measure(run, run_metrics.draw(run, options), options))
    assert set(again) == set(flat)
    for key, value in again.items():
        number = isinstance(value, float)
        assert flat[key] == (pytest.approx(value, rel=1e-3, abs=1e-3) if number else value), key


def test_tables_follow_from_the_predictions(tmp_path):
    """`compare` as it runs, on the committed predictions and metrics: the same tables, contrasts and candidate."""
    if not (paths.METRICS / "candidate.json").exists():
        assert names() == []
        return
    shutil.copyfile(paths.PARAMS, tmp_path / paths.PARAMS.name)
    shutil.copytree(paths.METRICS / "runs", tmp_path / "metrics" / "runs")
    (tmp_path / "predictions").symlink_to(paths.PREDICTIONS)
    environ = {**os.environ, "PIPELINE_ROOT": str(tmp_path)}
    command = [sys.executable, "-m", "pipeline.stages.compare"]
    done = subprocess.run(command, cwd=paths.ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("table2.csv", "table3.csv", "contrasts.csv"):
        again, committed = read_table(tmp_path / "metrics" / name), read_table(paths.METRICS / name)
        assert [number(row) for row in again] == [close(row) for row in committed], name
    for name in ("study.json", "candidate.json"):
        again, committed = (json.loads((root / name).read_text()) for root in (tmp_path / "metrics", paths.METRICS))
        assert again == nested(committed), name


def number(value):
    """A row of a table, what looks like a number as one."""
    if isinstance(value, dict):
        return {key: number(item) for key, item in value.items()}
    try:
        return float(value)
    except ValueError:
        return value


def close(row):
    return nested(number(row))


def nested(value):
    """The same, each float to be met closely."""
    if isinstance(value, dict):
        return {key: nested(item) for key, item in value.items()}
    if isinstance(value, list):
        return [nested(item) for item in value]
    return pytest.approx(value, **CLOSE) if isinstance(value, float) else value


def test_the_lock_speaks_of_the_committed_code_and_settings():
    """What ran is what is here: no stage's code, settings or command differs from dvc.lock."""
    differing = {
        stage: changes
        for stage, changes in dvc.status().items()
        if any(
            isinstance(change, str) or "modified" in json.dumps(change.get("changed deps", {})) for change in changes
        )
    }
    assert not differing, "run these stages again (make repro), or undo the change"


@pytest.mark.parametrize("document", markdown_blocks.DOCUMENTS)
def test_documents_hold_the_committed_metrics(document):
    path = paths.ROOT / document
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    marked = [(match["name"], match[0]) for match in markdown_blocks.MARKER.finditer(text)]
    if not (paths.METRICS / "candidate.json").exists():
        assert not any("|" in block for _, block in marked), f"{document} shows metrics that no file in metrics/ holds"
        return
    rendered = markdown_blocks.blocks(paths.METRICS, settings.load())
    for name, block in marked:
        body = re.sub(r"^<!-- .* -->\n|\n?<!-- /.* -->$", "", block)
        assert body == rendered[name], f"{document}, {name}: run `python -m pipeline.reporting.markdown_blocks`"
