"""What DVC shows of the committed study: tables that fit, and curves laid over one another."""

import json
import re
import shutil

import pytest
import yaml

from tests.dvc_use import graph

COLUMNS = 60
FURTHER = 20  # runs
COMPARE = """\
import json, yaml
runs = yaml.safe_load(open("params.yaml"))["train"]["runs"]
study = json.load(open("committed.json"))
epochs = sum(run["epochs"] for run in runs.values())
for part in study.values():
    part.update({key: value - epochs / 1e5 for key, value in part.items() if isinstance(value, float)})
json.dump(study, open("study.json", "w"))
"""


def columns(table: str) -> int:
    return table.splitlines()[0].count("|") - 1


def study():
    """The committed metrics, with further runs."""
    metrics = json.loads((graph.ROOT / "metrics" / "study.json").read_text(encoding="utf-8"))
    metrics["validation_auc"] |= {f"custom_cnn-tone-{seed}": 0.99 for seed in range(FURTHER)}
    return metrics


@pytest.fixture
def repository(tmp_path):
    """Real settings, and one stage that writes the metrics."""
    stage = {
        "cmd": "python compare.py",
        "params": ["train"],
        "deps": ["compare.py", "committed.json"],
        "metrics": [{"study.json": {"cache": False}}],
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"compare": stage}}))
    (tmp_path / "compare.py").write_text(COMPARE)
    (tmp_path / "committed.json").write_text(json.dumps(study()))
    shutil.copy(graph.ROOT / "params.yaml", tmp_path)
    graph.git(tmp_path, "init", "-q", "-b", "main")
    graph.good(graph.call(tmp_path, "init", "-q"))
    graph.good(graph.call(tmp_path, "repro"))
    graph.commit(tmp_path, "study")
    return tmp_path


def test_the_table_of_metrics_fits_also_with_further_runs(repository):
    assert columns(graph.good(graph.call(repository, "metrics", "show", "--md"))) <= COLUMNS


def test_the_table_of_experiments_fits_though_every_metric_changed(repository):
    graph.good(graph.call(repository, "exp", "run", "-S", f"train.runs.{graph.RUN}.epochs=1"))
    table = graph.good(graph.call(repository, *graph.documented("dvc exp show"), "--md"))
    assert f"train.runs.{graph.RUN}.epochs" in table
    assert "validation_auc.custom_cnn-tone-0" in table
    assert columns(table) <= COLUMNS


def test_curves_of_all_runs_lie_over_one_another(tmp_path):
    """What a browser draws of it was looked at; here: every plot has its template, all runs and both revisions."""
    graph.git(tmp_path, "init", "-q", "-b", "main")
    graph.good(graph.call(tmp_path, "init", "-q"))
    for name in ("plots/curves", ".dvc/plots"):
        shutil.copytree(graph.ROOT / name, tmp_path / name)
    plots = yaml.safe_load((graph.ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"plots": plots}))
    graph.commit(tmp_path, "curves")
    curves = tmp_path / "plots" / "curves" / "training.csv"
    curves.write_text(curves.read_text().replace("0.9", "0.8"))
    graph.good(graph.call(tmp_path, "plots", "diff", "HEAD", "--out", "page"))
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert len(page) < 3e6
    assert "<DVC_METRIC" not in page
    drawn = {spec["title"]: spec for spec in map(json.loads, re.findall(r"var spec = (\{.*?\});\n", page))}
    assert list(drawn) == [title for plot in plots for title in plot]
    runs = set(yaml.safe_load((graph.ROOT / "params.yaml").read_text(encoding="utf-8"))["train"]["runs"])
    for title, spec in drawn.items():
        assert spec["encoding"]["color"]["field"] == "run"
        assert spec["encoding"]["strokeDash"]["field"] == "rev"
        assert spec["params"][0]["bind"] == "legend"
        x, y = (spec["encoding"][axis]["field"] for axis in "xy")
        assert all({x, y} <= point.keys() for point in spec["data"]["values"]), title
        seen = {point["run"] for point in spec["data"]["values"]}
        assert len(seen) > 30 and seen - {"baseline"} <= runs, title
    revisions = {point["rev"] for point in drawn["Validation loss while training"]["data"]["values"]}
    assert revisions == {"HEAD", "workspace"}
