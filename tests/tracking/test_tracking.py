"""What is committed arrives in MLflow once, whatever happens on the way, and can be rebuilt."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys

import fake_predictions
import pytest
from candidate_fixture import HOME, command, write_candidate

from pipeline.tracking import mirror, publish, runs

RUNS = ("custom_cnn-raw-0", "vgg16-balanced-0")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A workspace with two runs of a study, their metrics and curves, and a lock."""
    folder = tmp_path_factory.mktemp("tracking") / ".work" / "try"
    rows = fake_predictions.image_rows(fake_predictions.SMALL)
    for seed, name in enumerate(RUNS):
        fake_predictions.write_run(folder / "predictions" / name, rows, seed=seed, epochs=3)
        write_figures(folder, name, 0.9 + seed / 100)
    (folder / "dvc.lock").write_text(
        "stages:\n  train@custom_cnn-raw-0:\n    deps:\n    - {path: pipeline/learning/networks.py, md5: abc}\n"
    )
    curves = folder / "plots" / "curves" / "roc-test.csv"
    curves.parent.mkdir(parents=True)
    curves.write_text("run,fpr,tpr\n")
    trained_with = {"python": "3.11.7", "packages": {"keras": "3.15.1"}, "cuda": None, "commit": "c0ffee"}
    (folder / "predictions" / RUNS[0] / "environment.json").write_text(json.dumps(trained_with))
    half = folder / "predictions" / ".xception-raw-0.1.tmp" / "run.json"  # what a training writes in this moment
    half.parent.mkdir()
    half.write_text("{")
    write_candidate(folder)
    return folder


def write_figures(root, name, auc):
    path = root / "metrics" / "runs" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"run": name, "validation_auc": auc, "validation_auc_low": auc - 0.02, "collapsed": False})
    )


def track(root, **environment):
    result = command(root, "pipeline.tracking.publish", **environment)
    assert result.returncode == 0, result.stderr
    return result.stderr


def client_of(root):
    return runs.connect(f"sqlite:///{root / 'mlflow.db'}")


def study(root):
    """The parents, and the children by parent, as (name, id)."""
    client = client_of(root)
    every = client.search_runs([client.get_experiment_by_name(publish.EXPERIMENT).experiment_id], max_results=1000)
    parents = [run for run in every if runs.PARENT not in run.data.tags and "superseded" not in run.data.tags]
    children = [run for run in every if runs.PARENT in run.data.tags]
    return parents, {run.info.run_name: run for run in children}, children


def aliases(root):
    client = client_of(root)
    versions = {
        entry.version: entry.tags["version"] for entry in client.search_model_versions(f"name = '{mirror.MODEL}'")
    }
    held = client.get_registered_model(mirror.MODEL).aliases
    return {alias: versions[number] for alias, number in held.items()}, versions


def test_the_study_is_published_once_and_a_lost_database_is_rebuilt(root):
    track(root)
    (parent,), children, every = study(root)
    assert set(children) == set(RUNS) and len(every) == 2
    assert {run.data.tags[runs.PARENT] for run in every} == {parent.info.run_id}
    client = client_of(root)
    run = children[RUNS[0]]
    history = client.get_metric_history(run.info.run_id, "history/val_loss")
    assert [(point.step, round(point.value, 3)) for point in history] == [(1, 0.6), (2, 0.3), (3, 0.2)]
    assert run.data.metrics["validation_auc"] == 0.9 and "collapsed" not in run.data.metrics
    assert run.data.params["network"] == "custom_cnn" and run.data.params["dataset_digest"] == "0" * 64
    assert run.data.tags[runs.KEY] == publish.run_digest(root / "predictions" / RUNS[0])
    assert run.data.tags["code_digest"] != "not in dvc.lock" == children[RUNS[1]].data.tags["code_digest"]
    assert len(parent.data.tags["dvc_lock"]) == 64
    told = {key: value for key, value in run.data.tags.items() if key.startswith("trained_with.")}
    assert told == {
        f"trained_with.{key}": value for key, value in (("python", "3.11.7"), ("keras", "3.15.1"), ("commit", "c0ffee"))
    }
    files = {file.path for file in client.list_artifacts(run.info.run_id, "predictions")}
    assert {"predictions/images.csv", "predictions/run.json"} <= files
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} >= {"params.yaml", "dvc.lock", "plots"}

    before = sorted(found_run.info.run_id for found_run in [parent, *every])
    track(root)
    (again,), _, same = study(root)
    assert sorted(found_run.info.run_id for found_run in [again, *same]) == before


def test_a_lost_database_is_rebuilt(root, tmp_path):
    """A copy without the database, since MLflow keeps the file of a deleted one open."""
    copy = tmp_path / ".work" / "again"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts"))
    assert not (copy / "mlflow.db").exists()
    track(copy)
    parents, _, every = study(copy)
    assert len(parents) == 1 and len(every) == 2


def test_new_metrics_replace_the_old_and_a_run_trained_again_sets_the_old_one_aside(root):
    write_figures(root, RUNS[0], 0.95)
    fake_predictions.write_run(
        root / "predictions" / RUNS[1], fake_predictions.image_rows(fake_predictions.SMALL), seed=9, epochs=4
    )
    track(root)
    parents, children, every = study(root)
    assert len(parents) == 1 and len(every) == 2
    assert children[RUNS[0]].data.metrics["validation_auc"] == 0.95
    assert len(client_of(root).get_metric_history(children[RUNS[0]].info.run_id, "validation_auc")) == 1
    assert children[RUNS[1]].data.tags[runs.KEY] == publish.run_digest(root / "predictions" / RUNS[1])
    client = client_of(root)
    experiment = client.get_experiment_by_name(publish.EXPERIMENT).experiment_id
    assert len(client.search_runs([experiment], "tags.superseded = 'true'")) == 1


def test_what_arrived_in_part_is_published_anew(root):
    track(root)
    _, children, _ = study(root)
    client = client_of(root)
    lost = children[RUNS[0]].info.run_id
    client.delete_tag(lost, runs.CONTENT)  # as a killed process leaves it
    track(root)
    _, children, every = study(root)
    assert len(every) == 2 and children[RUNS[0]].info.run_id != lost


def test_the_registry_mirrors_the_champions(root):
    challenger = write_candidate(root, auc=0.99)
    track(root)
    assert aliases(root)[0] == {"challenger": challenger}
    first = challenger
    assert command(root, "pipeline.registry.champion", "promote").returncode == 0
    second = write_candidate(root, auc=0.992)
    assert command(root, "pipeline.registry.champion", "promote").returncode == 0
    track(root)
    assert aliases(root)[0] == {"champion": second, "previous": first}
    client_of(root).set_registered_model_alias(mirror.MODEL, "champion", "1")  # somebody's mistake
    assert command(root, "pipeline.registry.champion", "rollback").returncode == 0
    track(root)
    held, versions = aliases(root)
    assert held == {"champion": first, "challenger": second}
    assert sorted(versions.values()) == sorted([first, second])


def test_the_registered_champion_answers(root):
    import mlflow
    import numpy as np
    from champion_fixture import SIDE, logit_of

    mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model(f"models:/{mirror.MODEL}@champion")
    pixels = np.full((1, SIDE, SIDE, 1), 200, np.uint8)
    assert model.predict(pixels)["logit"] == pytest.approx(logit_of(pixels), abs=1e-5)
    assert model.metadata.signature.inputs.to_dict()[0]["tensor-spec"] == {
        "dtype": "uint8",
        "shape": (-1, SIDE, SIDE, 1),
    }
    assert model.input_example.shape == (1, SIDE, SIDE, 1)
    client = client_of(root)
    run = client.get_model_version_by_alias(mirror.MODEL, "champion").run_id
    (used,) = client.get_run(run).inputs.dataset_inputs
    assert used.dataset.name == "phantom"


def test_a_server_that_is_down_fails_nothing(root):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = track(root, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
    assert "did not take it all" in said and "the next `make track` makes up for it" in said


def test_a_database_that_mlflow_refuses_is_one_line_and_no_warning(root, tmp_path):
    copy = tmp_path / "old"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts"))
    with sqlite3.connect(copy / "mlflow.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")  # of a later MLflow
        database.execute("CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY)")
    done = command(copy, "pipeline.tracking.publish", MLFLOW_TRACKING_URI="")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("track: MLflow at sqlite:///")


def test_nothing_to_publish_is_said(tmp_path):
    result = command(tmp_path, "pipeline.tracking.publish")
    assert result.returncode == 1 and "predictions/ holds no run to publish" in result.stderr


@pytest.mark.slow  # a dozen processes, each with a MLflow of its own
def test_publishing_killed_before_any_of_its_writes_is_made_up_for_and_leaves_nothing_twice(root, tmp_path):
    copy = tmp_path / ".work" / "killed"
    shutil.copytree(
        root, copy, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts", RUNS[1])
    )  # one run: less to kill
    done = subprocess.run(
        [sys.executable, str(HOME / "tests" / "publish_driver.py")],
        env={**os.environ, "PIPELINE_ROOT": str(copy), "PYTHONPATH": str(HOME)},
        capture_output=True, text=True, timeout=550, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 5
    parents, children, every = study(copy)
    assert len(parents) == 1 and len(every) == len(children) == 1
    assert {run.info.status for run in [*parents, *every]} == {"FINISHED"}
    assert {run.data.tags[runs.PARENT] for run in every} == {parents[0].info.run_id}
    held, versions = aliases(copy)
    assert set(held) == {"challenger"} and len(versions) == 1
    client = client_of(copy)
    metrics = {name: run.data.metrics for name, run in children.items()}
    track(copy)  # as a whole: nothing is left to do
    assert sorted(run.info.run_id for run in study(copy)[2]) == sorted(run.info.run_id for run in every)
    history = client.get_metric_history(children[RUNS[0]].info.run_id, "history/val_loss")
    assert len(history) == len({point.step for point in history}) and "validation_auc" in metrics[RUNS[0]]
