"""Several machines, one remote: what travels, what does not, and what is said when something cannot."""

import json
from pathlib import Path

import pytest
import yaml

from pipeline.ci.image_content import kind
from tests.retraining_fixture import SMALL, copy_project, git, one_line, task, workspace

RUN = "custom_cnn-raw-0"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("remote") / "project")


def test_a_remote_that_refuses_is_named(project: Path) -> None:
    """A folder that is a file: the push fails, and the task's line says that it was the push."""
    params = {"settings": {**SMALL, "ingest": {"dataset": "phantom", "phantom": {"train": 12, "val": 2, "test": 4}}}}
    refusing = project.parent / "refusing"
    refusing.write_text("no folder")
    done = task(project, "run_stages ingest", "refused", params, RETRAIN_REMOTE=str(refusing))
    assert "push to the remote" in one_line(done)
    refusing.unlink()
    done = task(project, "run_stages ingest", "refused", params, RETRAIN_REMOTE=str(refusing))
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(refusing.rglob("*")), "the repaired remote got nothing"


def images(folder: Path) -> list[str]:
    """What images, or arrays of images, the files below a folder are or hold: by content, names tell nothing in a remote."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(content for file in files if (content := kind(file.read_bytes())))


def test_no_image_leaves_the_head_and_nothing_is_trained_in_passing(project: Path, tmp_path: Path) -> None:
    params, remote = {"settings": SMALL}, tmp_path / "remote"
    told = {"RETRAIN_REMOTE": str(remote)}
    for call in ("plan", "run_stages ingest", "run_stages validate", "prepare"):
        done = task(project, call, "travel", params, **told)
        assert done.returncode == 0, done.stdout + done.stderr
    place = workspace(project, "travel")
    assert images(place / "data" / "raw")
    assert images(place / "reports" / "figures"), "no sheet of images: test nothing"
    assert images(remote) == images(place / "data" / "arrays") != [], "the arrays, and nothing else"
    # No worker has trained yet: the head says so, and does not do it in their place.
    done = task(project, "gather_runs", "travel", params, **told)
    assert f"train: {RUN} is neither in this workspace nor in the run cache" in one_line(done)
    assert not (place / "models" / "runs" / RUN).exists()


def test_a_remote_that_was_corrected_is_used(project: Path, tmp_path: Path) -> None:
    params = {"settings": SMALL}
    for remote in ("wrong", "right"):
        told = {"RETRAIN_REMOTE": str(tmp_path / remote)}
        assert task(project, "plan", "corrected", params, **told).returncode == 0
        known = (workspace(project, "corrected") / ".dvc" / "config.local").read_text()
        assert known.count(str(tmp_path)) == 1
        assert str(tmp_path / remote) in known


def test_training_again_on_several_machines_is_refused_before_anything_is_done(project: Path, tmp_path: Path) -> None:
    """The run cache could not tell the new result from the old one, and `gather_runs` would keep the old."""
    told = {"RETRAIN_REMOTE": str(tmp_path / "remote")}
    for call in ("detect_new_data", "plan"):
        assert "force trains again on one machine alone" in one_line(
            task(project, call, "force", {"force": True}, **told)
        )
    assert not list(project.glob(".work/retrain-force-*"))


@pytest.mark.slow
def test_a_training_of_another_machine_is_not_done_again(project: Path, tmp_path: Path) -> None:
    """About 40 s. The head takes network and predictions from the remote, by the run cache, and has the worker's lock."""
    params = {"settings": SMALL, "epochs": 1}
    remote = {"RETRAIN_REMOTE": str(tmp_path / "remote")}
    for call in ("plan", "run_stages ingest", "run_stages validate", "prepare"):
        done = task(project, call, "head", params, **remote)
        assert done.returncode == 0, done.stdout + done.stderr
    (told,) = json.loads(done.stdout.splitlines()[-1])
    worker = tmp_path / "worker"
    git(tmp_path, "clone", "-q", str(project), "worker")
    (worker / ".venv").symlink_to(project / ".venv")
    done = task(worker, "run_stages train@custom_cnn-raw-0 stress@custom_cnn-raw-0", "head", params, **remote, **told)
    assert done.returncode == 0, done.stdout + done.stderr
    done = task(project, "gather_runs", "head", params, **remote)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is cached - skipping run" in done.stdout
    assert "pipeline.stages.train" not in done.stdout, "trained again"
    locks = [yaml.safe_load((workspace(place, "head") / "dvc.lock").read_text()) for place in (project, worker)]
    ours, theirs = (lock["stages"]["train@custom_cnn-raw-0"] for lock in locks)
    assert ours == theirs
    assert (workspace(project, "head") / "predictions" / "custom_cnn-raw-0" / "images.csv").is_file()
    assert images(tmp_path / "remote") == images(workspace(project, "head") / "data" / "arrays")
