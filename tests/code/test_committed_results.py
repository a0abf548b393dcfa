"""What is committed agrees with itself: predictions -> metrics -> tables -> documents. Whatever is there is checked."""

import json
import re
import subprocess

import pytest

from pipeline import paths, settings
from pipeline.evaluation import documents, measure, predictions

# Another machine's arithmetic may move the last digits; a wrong figure moves more.
CLOSE = {"rel": 1e-4, "abs": 2e-4}


def names() -> list[str]:
    """Runs whose predictions are here."""
    if not paths.PREDICTIONS.is_dir():
        return []
    return sorted(path.parent.name for path in paths.PREDICTIONS.glob("*/run.json"))


def test_runs_and_their_figures_are_committed_together():
    figures = sorted(path.stem for path in (paths.METRICS / "runs").glob("*.json"))
    if figures:
        assert figures == names()
    tracked = subprocess.run(
        ["git", "ls-files", "predictions", "metrics"], cwd=paths.ROOT, capture_output=True, text=True
    )
    if "metrics/candidate.json" in tracked.stdout:
        assert figures


@pytest.mark.parametrize("name", names() or [None])
def test_figures_follow_from_the_predictions(name):
    if name is None or not (paths.METRICS / "runs" / f"{name}.json").exists():
        assert not (paths.METRICS / "candidate.json").exists()
        return
    options = settings.load().evaluate
    run = predictions.read(paths.predictions(name))
    flat = json.loads((paths.METRICS / "runs" / f"{name}.json").read_text(encoding="utf-8"))
    figures = measure.headline(run, measure.draw(run, options), options)
    again = measure.summary(run, figures, {})
    for key, value in again.items():
        if key in figures or key.endswith(("_low", "_high")):
            assert flat[key] == (value if isinstance(value, str) else pytest.approx(value, **CLOSE)), key
        else:
            assert flat[key] == value, key


@pytest.mark.slow
@pytest.mark.parametrize("name", names() or [None])
def test_all_figures_follow_from_the_predictions(name):
    """Every figure of a run, half a second each."""
    if name is None or not (paths.METRICS / "runs" / f"{name}.json").exists():
        assert not (paths.METRICS / "candidate.json").exists()
        return
    options = settings.load().evaluate
    run = predictions.read(paths.predictions(name))
    flat = json.loads((paths.METRICS / "runs" / f"{name}.json").read_text(encoding="utf-8"))
    again = measure.summary(run, *measure.measure(run, measure.draw(run, options), options))
    assert set(again) == set(flat)
    for key, value in again.items():
        number = isinstance(value, float)
        assert flat[key] == (pytest.approx(value, rel=1e-3, abs=1e-3) if number else value), key


@pytest.mark.parametrize("document", documents.DOCUMENTS)
def test_documents_hold_the_committed_figures(document):
    path = paths.ROOT / document
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    marked = [(match["name"], match[0]) for match in documents.MARKER.finditer(text)]
    if not (paths.METRICS / "candidate.json").exists():
        assert not any("|" in block for _, block in marked), f"{document} shows figures that no file in metrics/ holds"
        return
    rendered = documents.blocks(paths.METRICS, settings.load())
    for name, block in marked:
        body = re.sub(r"^<!-- .* -->\n|\n?<!-- /.* -->$", "", block)
        assert body == rendered[name], f"{document}, {name}: run `python -m pipeline.evaluation.documents`"
