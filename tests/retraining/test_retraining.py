"""The commands behind the DAG's tasks, run as Airflow runs them, in a clone of this project."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.candidate_fixture import write_candidate
from tests.retraining_fixture import (
    NOTHING_TO_DO,
    SMALL,
    copy_project,
    environment,
    git,
    one_line,
    running,
    task,
    workspace,
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project as it stands, uncommitted work included, as the one commit of a repository of its own."""
    return copy_project(tmp_path_factory.mktemp("retraining") / "project")


def write_source(folder: Path) -> Path:
    for split in ("train", "val", "test"):
        for place, label in enumerate(("NORMAL", "PNEUMONIA")):
            (folder / split / label).mkdir(parents=True)
            Image.new("L", (80, 80), 50 + place).save(folder / split / label / "a.jpeg")
    return folder


def test_a_run_without_new_images_is_a_skip(project: Path, tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    detected = task(project, "detect_new_data", "detect", CXR_DATA=str(source))
    assert detected.returncode == 0, detected.stderr
    digest = detected.stderr.split("new images: ")[1].split()[0]
    facts = project / "predictions" / "custom_cnn-raw-0" / "run.json"
    facts.parent.mkdir(parents=True)
    facts.write_text(json.dumps({"dataset_digest": digest, "edition": "224px"}))
    try:
        assert task(project, "detect_new_data", "detect", CXR_DATA=str(source)).returncode == NOTHING_TO_DO
        assert task(project, "detect_new_data", "detect", {"force": True}, CXR_DATA=str(source)).returncode == 0
        assert task(project, "detect_new_data", "detect", {"epochs": 1}, CXR_DATA=str(source)).returncode == 0
        Image.new("L", (80, 80), 99).save(source / "train" / "NORMAL" / "b.jpeg")
        assert task(project, "detect_new_data", "detect", CXR_DATA=str(source)).returncode == 0
    finally:
        shutil.rmtree(project / "predictions")


def test_new_images_are_taken_although_nothing_that_dvc_knows_has_changed(project: Path, tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    datasets = []
    for run in ("old", "new"):
        for again in (False, True):
            done = task(project, "run_stages ingest", run, {"epochs": 1}, CXR_DATA=str(source))
            assert done.returncode == 0, done.stdout + done.stderr
            assert ("didn't change, skipping" in done.stdout) == again, done.stdout
        datasets.append(json.loads((workspace(project, run) / "data" / "dataset.json").read_text()))
        Image.new("L", (80, 80), 99).save(source / "train" / "NORMAL" / "b.jpeg")
    assert [dataset["pictures"] for dataset in datasets] == [6, 7]


def test_a_source_that_is_not_there_is_named(project: Path, tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in one_line(
        task(project, "detect_new_data", "detect", CXR_DATA=str(tmp_path / "nowhere"))
    )


def test_unknown_names_fail_before_anything_is_made(project: Path) -> None:
    said = one_line(task(project, "plan", "typo", {"networks": ["resnet5"]}))
    assert "did you mean 'resnet50'" in said
    assert not list(project.glob(".work/retrain-typo-*/.retraining"))
    said = one_line(task(project, "plan", "typo", {"settings": {"preprocess": {"image_sise": 64}}}))
    assert "image_sise" in said


def test_plan_makes_a_workspace_and_leaves_the_checkout_clean(project: Path) -> None:
    done = task(project, "plan", "clean", {"settings": SMALL, "epochs": 2})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"RETRAIN_COMMIT": git(project, "rev-parse", "HEAD").strip()}
    place = workspace(project, "clean")
    assert "epochs: 2" in (place / "params.yaml").read_text()
    assert git(project, "status", "--porcelain") == ""
    (place / "note").write_text("mine")
    assert task(project, "plan", "clean", {"settings": SMALL, "epochs": 2}).returncode == 0
    assert (place / "note").exists(), "planning twice made the workspace anew"
    assert task(project, "plan", "other", {"settings": SMALL}).returncode == 0
    assert workspace(project, "other") != place


def test_a_commit_that_a_worker_lacks_is_named(project: Path) -> None:
    done = task(project, "run_stages ingest", "lacking", {"settings": SMALL}, RETRAIN_COMMIT="0" * 40)
    assert "git" in one_line(done)


def test_a_branch_takes_the_results_and_nothing_else(project: Path) -> None:
    params = {"settings": {"ingest": SMALL["ingest"]}, "deliver": "branch"}
    assert task(project, "plan", "branch", params).returncode == 0
    place = workspace(project, "branch")
    (place / "metrics" / "runs").mkdir(parents=True, exist_ok=True)
    (place / "metrics" / "study.json").write_text('{"a": 1}\n')
    (place / "data" / "raw").mkdir(parents=True, exist_ok=True)
    (place / "data" / "raw" / "child.jpeg").write_bytes(b"a patient")
    version = write_candidate(place)
    assert [task(project, call, "branch", params).returncode for call in ("gate", "promote")] == [0, 0]
    assert task(project, "deliver", "branch", params).returncode == 0
    branch = git(project, "branch", "--list", "retrain/*").strip().lstrip("+* ")
    tip = git(project, "rev-parse", branch)
    files = git(project, "diff", "--name-only", "main", branch).split()
    assert {"metrics/study.json", "models/CHAMPION", "params.yaml"} <= set(files)
    assert not [file for file in files if file.startswith("data/")]
    assert f"Champion: {version}" in git(project, "log", "-1", "--format=%B", branch)
    assert task(project, "deliver", "branch", params).returncode == 0
    assert git(project, "rev-parse", branch) == tip, "delivering twice made another commit"
    assert git(project, "status", "--porcelain") == ""


def test_a_champion_goes_into_the_checkout_and_a_damaged_one_is_named(project: Path) -> None:
    params = {"settings": SMALL, "deliver": "checkout"}
    calls = ("gate", "promote", "deliver")

    def promoted(run: str, auc: float) -> str:
        assert task(project, "plan", run, params).returncode == 0
        version = write_candidate(workspace(project, run), auc=auc, dataset="chest-xray-pneumonia")
        assert [task(project, call, run, params).returncode for call in calls] == [0, 0, 0]
        assert (project / "models" / "CHAMPION").read_text() == f"{version}\n"
        return version

    try:
        first = promoted("one", 0.99)
        record = (project / "models" / "promotions.jsonl").read_text()
        assert task(project, "deliver", "one", params).returncode == NOTHING_TO_DO
        assert (project / "models" / "promotions.jsonl").read_text() == record, "delivering twice promoted twice"

        answers = project / "models" / "champions" / first / "predictions.csv"
        content = answers.read_bytes()
        answers.write_bytes(content[:-20])
        said = one_line(task(project, "plan", "two", params))
        assert f"champion is damaged (models/champions/{first}/predictions.csv" in said
        assert f"git checkout -- models/champions/{first}" in said
        answers.write_bytes(content)
        assert task(project, "plan", "two", params).returncode == 0

        # Damaged while the training went on: the gate says so, and goes on after the repair.
        second = write_candidate(workspace(project, "two"), auc=0.992, dataset="chest-xray-pneumonia")
        answers.unlink()
        assert f"{first}/predictions.csv is missing" in one_line(task(project, "gate", "two", params))
        assert (project / "models" / "CHAMPION").read_text() == f"{first}\n"
        answers.write_bytes(content)
        assert [task(project, call, "two", params).returncode for call in calls] == [0, 0, 0]
        assert (project / "models" / "CHAMPION").read_text() == f"{second}\n"
        assert json.loads((project / "metrics" / "gate.json").read_text())["against"] == first
    finally:
        shutil.rmtree(project / "models", ignore_errors=True)
        git(project, "checkout", "-q", "--", ".")
        git(project, "clean", "-q", "-f", "-d")


def test_a_champion_of_phantoms_does_not_leave_its_workspace(project: Path) -> None:
    params = {"settings": SMALL, "deliver": "checkout"}
    assert task(project, "plan", "phantom", params).returncode == 0
    write_candidate(workspace(project, "phantom"))
    assert [task(project, call, "phantom", params).returncode for call in ("gate", "promote")] == [0, 0]
    assert "trained on phantoms" in one_line(task(project, "deliver", "phantom", params))
    assert not (project / "models" / "CHAMPION").exists()


def test_results_stay_in_the_workspace_unless_asked(project: Path) -> None:
    assert task(project, "deliver", "stay", {"settings": SMALL}).returncode == NOTHING_TO_DO


@pytest.mark.slow
def test_a_full_disk_is_named_and_freeing_some_is_enough(tmp_path: Path) -> None:
    """About 2 minutes. The project on a small disk that is filled before each task and freed after it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("NOT TESTED: a full disk; mounting a small one needs root")
    params, told = {"settings": SMALL, "epochs": 1}, {}
    try:
        project = copy_project(disk / "project")
        for call, left in {
            "plan": 100_000, "run_stages ingest": 30_000, "run_stages validate": 4096, "prepare": 100_000,
            "run_stages train@custom_cnn-raw-0 stress@custom_cnn-raw-0": 200_000, "gather_runs": 0,
            "run_stages baseline evaluate compare": 4096,
            "run_stages package": 100_000,
        }.items():  # fmt: skip
            filler = disk / "filler"
            filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - left)))
            said = one_line(task(project, call, "full", params, **told))
            assert "the disk is full" in said, said
            filler.unlink()
            done = task(project, call, "full", params, **told)
            assert done.returncode == 0, done.stdout + done.stderr
            if call == "prepare":
                (told,) = json.loads(done.stdout.splitlines()[-1])
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.slow
def test_a_killed_training_goes_on_and_leaves_no_process_behind(project: Path) -> None:
    """About 90 s on two free cores. Its worker is killed, as the kernel or a power cut would, and the task is tried again."""
    params = {"settings": SMALL, "epochs": 4}
    for call in ("plan", "run_stages ingest", "run_stages validate", "prepare"):
        done = task(project, call, "kill", params)
        assert done.returncode == 0, done.stdout + done.stderr
    (told,) = json.loads(done.stdout.splitlines()[-1])
    place = workspace(project, "kill")
    training = ".venv/bin/python -m pipeline.retraining run_stages train@custom_cnn-raw-0 stress@custom_cnn-raw-0"
    # `sleep` keeps the shell as the parent: the worker that is killed.
    worker = subprocess.Popen(
        ["sh", "-c", f"{training}; sleep 1"], cwd=project, env=environment("kill", params) | told,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 300
        while not list(place.glob(".cache/training/*/checkpoint.npz")):
            assert worker.poll() is None
            assert time.monotonic() < until, "no epoch ended"
            time.sleep(0.1)
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    until = time.monotonic() + 60
    while running(place):
        assert time.monotonic() < until, f"left behind: {running(place)}"
        time.sleep(0.1)

    done = task(project, "run_stages train@custom_cnn-raw-0 stress@custom_cnn-raw-0", "kill", params)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "going on after epoch" in done.stdout
    history = (place / "predictions" / "custom_cnn-raw-0" / "history.csv").read_text().splitlines()
    assert len(history) == 1 + 4
    before = (place / "dvc.lock").read_text()
    for call in ("run_stages train@custom_cnn-raw-0 stress@custom_cnn-raw-0", "gather_runs", "run_stages ingest"):
        assert task(project, call, "kill", params).returncode == 0
    assert (place / "dvc.lock").read_text() == before, "a task run twice changed the lock"
    assert git(project, "status", "--porcelain") == ""
