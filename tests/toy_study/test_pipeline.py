"""The graph on toy settings: what runs again, what does not, and what a killed process leaves."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline import dvc, paths
from tests.study_fixture import RUNS, alive, call, change, children, digests, environment, stage, wait_for, would_run


def test_a_second_repro_does_nothing(project):
    done = call(project, "repro")
    assert "Data and pipelines are up to date." in done.stdout
    assert dvc.trainings_to_run(RUNS, project) == []


def test_every_stage_left_its_outputs_and_no_path_of_this_machine(project):
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert set(lock) >= {"ingest", "validate", "preprocess", "groups", "evaluate", "compare", "package"} | {
        f"train@{name}" for name in RUNS
    }
    for outs in (entry.get("outs", []) for entry in lock.values()):
        assert all((project / out["path"]).exists() for out in outs)
    assert str(project) not in (project / "dvc.lock").read_text()
    assert str(Path.home()) not in (project / "dvc.lock").read_text()


def test_changing_a_threshold_never_retrains(project):
    change(project, "evaluate", "threshold", 0.4)
    stages = would_run(project)
    assert "evaluate" in stages
    assert not any(name.startswith(("train@", "groups", "preprocess")) for name in stages)


def test_changing_one_run_s_setting_retrains_that_run_alone(project):
    change(project, "train", "runs", "vgg16-raw-0", "batch_size", 8)
    assert {name for name in would_run(project) if name.startswith("train@")} == {"train@vgg16-raw-0"}
    assert dvc.trainings_to_run(RUNS, project) == ["vgg16-raw-0"]


def test_another_line_in_the_table_reruns_nothing_else(project):
    change(project, "train", "runs", "custom_cnn-raw-1", RUNS["custom_cnn-raw-0"] | {"seed": 1})
    assert {name for name in would_run(project) if name.startswith("train@")} == {"train@custom_cnn-raw-1"}


@pytest.mark.parametrize(
    "file",
    [
        "learning/export.py",
        "learning/provenance.py",
        "robustness/families.py",
        "figures/study_plots.py",
        "settings.py",
        "paths.py",
    ],
)
def test_editing_a_file_that_cannot_change_a_weight_retrains_nothing(project, file):
    path = project / "pipeline" / file
    path.write_text(path.read_text() + "\n# A remark.\n")
    assert not any(name.startswith("train@") for name in would_run(project))


def test_editing_a_figure_of_the_groups_retrains_nothing(project):
    path = project / "pipeline" / "figures" / "group_figures.py"
    path.write_text(path.read_text().replace("images an epoch", "images in an epoch"))
    assert "groups" in would_run(project)
    assert call(project, "repro", "--single-item", "groups").returncode == 0
    assert not any(name.startswith("train@") for name in would_run(project))


@pytest.mark.parametrize(
    ("file", "retrained"),
    [
        ("networks/vgg16.py", {"vgg16-raw-0"}),
        ("networks/custom_cnn.py", {"custom_cnn-raw-0", "custom_cnn-balanced-0"}),
        ("networks/densenet121.py", set()),
        ("augmentation/geometric.py", {"custom_cnn-balanced-0"}),
        ("augmentation/robust.py", set()),
        ("training.py", set(RUNS)),
    ],
)
def test_editing_a_file_retrains_the_runs_that_it_can_change_and_no_other(project, file, retrained):
    path = project / "pipeline" / "learning" / file
    path.write_text(path.read_text() + "\n# A remark.\n")
    assert {name for name in would_run(project) if name.startswith("train@")} == {f"train@{name}" for name in retrained}


def test_another_kind_of_stress_voids_no_training(project):
    path = project / "pipeline" / "robustness" / "families.py"
    path.write_text(path.read_text() + "\n# A remark.\n")
    stages = would_run(project)
    assert {f"stress@{name}" for name in RUNS} <= stages
    assert not any(name.startswith("train@") for name in stages)


def test_a_clone_without_data_has_nothing_to_do(project, tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(project, clone, ignore=shutil.ignore_patterns("raw", "arrays", "cache", "tmp", "runs", ".cache"))
    for name in ("data/manifest", "data/groups", "models", "reports", ".dvc/cache"):
        shutil.rmtree(clone / name, ignore_errors=True)
    (clone / "data" / "dataset.json").unlink()
    shutil.copytree(project / "metrics", clone / "metrics", dirs_exist_ok=True)
    done = call(clone, "repro", "--allow-missing")
    assert done.returncode == 0, done.stderr
    assert "Running stage" not in done.stdout
    assert call(clone, "metrics", "show").returncode == 0
    assert "custom_cnn-raw-0" in call(clone, "metrics", "show", "--json").stdout
    shown = call(clone, "plots", "show", "--out", str(tmp_path / "plots"))
    assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "plots" / "index.html").stat().st_size > 10_000


def test_a_broken_setting_stops_repro_before_anything_is_deleted(project):
    before = digests(project / "models", project / "predictions", project / "data" / "groups")
    change(project, "train", "common", "epoch", 3)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.commands.repro"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "repro: params.yaml: train.common: unknown key 'epoch'; did you mean 'epochs'?"
    assert digests(project / "models", project / "predictions", project / "data" / "groups") == before


def test_a_source_of_the_wrong_shape_stops_repro_before_anything_is_deleted(project, tmp_path):
    change(project, "ingest", "dataset", "chest-xray-pneumonia")
    (tmp_path / "cats").mkdir()
    before = digests(project / "data" / "raw")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.commands.repro", "--source", str(tmp_path)],
        cwd=project, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert digests(project / "data" / "raw") == before


@pytest.mark.parametrize("delay", [0.15, 0.5, 1.0])
@pytest.mark.parametrize("name", ["ingest", "preprocess", "validate"])
def test_a_data_stage_killed_at_any_moment_runs_again_to_the_same_end(project, name, delay):
    outputs = {"ingest": "data/raw", "preprocess": "data/arrays", "validate": "data/manifest"}
    folder = project / outputs[name]
    before = digests(folder)
    shutil.rmtree(folder)  # as DVC does before it runs a stage
    process = stage(project, name)
    time.sleep(delay)
    process.kill()
    process.communicate()
    again = stage(project, name)
    _, errors = again.communicate()
    assert again.returncode == 0, errors
    assert digests(folder) == before
    assert not [path.name for path in folder.parent.iterdir() if path.name.endswith(".tmp")], (
        "nothing half done is left"
    )


def forget_checkpoints(folder, name):
    for path in (folder / ".cache" / "training").glob(f"{name}-*"):
        shutil.rmtree(path)


@pytest.mark.parametrize(
    "victim",
    ["both", pytest.param("dvc", marks=pytest.mark.slow), pytest.param("child", marks=pytest.mark.slow)],
)
def test_a_killed_training_goes_on_and_ends_with_the_same_network(project, victim):
    name = "custom_cnn-raw-0"
    outputs = project / "models" / "runs" / name, project / "predictions" / name
    before = digests(*outputs)
    checkpoints = project / ".cache" / "training"
    forget_checkpoints(project, name)
    command = dvc.command("repro", "--force", "--single-item", f"train@{name}")
    process = subprocess.Popen(
        command, cwd=project, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: list(checkpoints.glob(f"{name}-*/checkpoint.npz")))
    trainer = children(process.pid)[0]
    if victim in ("dvc", "both"):
        process.kill()
    if victim in ("child", "both"):
        os.kill(trainer, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not alive(trainer), 20)
    assert not outputs[0].exists(), "it was killed in the middle"
    done = call(project, "repro", "--force", "--single-item", f"train@{name}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "going on after epoch" in done.stderr + done.stdout
    assert digests(*outputs) == before


def test_two_trainings_of_one_run_do_not_meet(project):
    name = "custom_cnn-raw-0"
    forget_checkpoints(project, name)
    first = stage(project, "train", name)
    wait_for(lambda: list((project / ".cache" / "training").glob(f"{name}-*/lock")))
    first.send_signal(signal.SIGSTOP)  # in the middle of its training, for as long as the second one takes to start
    second = stage(project, "train", name)
    _, errors = second.communicate()
    first.kill()
    first.communicate()
    assert second.returncode == 1
    assert "another process trains this run now" in errors.splitlines()[-1]


def test_an_unknown_run_is_one_line(project):
    process = stage(project, "train", "custom_cnn-rwa-0")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.startswith(
        "train: 'custom_cnn-rwa-0' is not in train.runs of params.yaml; did you mean 'custom_cnn-raw-0'?"
    )
    assert len(errors.strip().splitlines()) == 1


def test_a_full_disk_is_one_line_and_leaves_the_old_arrays(project):
    """A limit on the size of files stands for the full disk: the same failed write."""
    before = digests(project / "data" / "arrays")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.stages.preprocess"],
        cwd=project, env=environment(), capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert digests(project / "data" / "arrays") == before


@pytest.mark.slow
def test_the_demo_says_what_it_made_and_leaves_the_checkout_clean():
    def status():
        return subprocess.run(
            ["git", "status", "--porcelain"], cwd=paths.ROOT, capture_output=True, text=True, check=True
        ).stdout

    before = status()
    done = subprocess.run(["make", "demo"], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "nothing here is about children" in done.stdout
    assert "densenet121-balanced-0" in done.stdout
    assert status() == before
