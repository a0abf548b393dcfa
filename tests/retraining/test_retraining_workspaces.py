"""Where a retraining works, what it leaves behind, and what it carries out."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.errors import ProjectError
from pipeline.retraining.smoke import served
from tests.candidate_fixture import write_candidate
from tests.retraining_fixture import NOTHING_TO_DO, SMALL, copy_project, git, one_line, task, workspace

PHANTOM = {"settings": {"ingest": {"dataset": "phantom"}}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("places") / "project")


def test_params_stay_as_people_wrote_them_unless_the_run_changes_them(project: Path) -> None:
    written = (project / "params.yaml").read_text()
    assert "#" in written
    assert task(project, "plan", "usual", {"deliver": "branch"}).returncode == 0
    assert (workspace(project, "usual") / "params.yaml").read_text() == written
    assert task(project, "plan", "other", PHANTOM).returncode == 0
    assert "dataset: phantom" in (workspace(project, "other") / "params.yaml").read_text()


def test_a_branch_that_would_lose_runs_is_refused(project: Path) -> None:
    for call in ("detect_new_data", "plan"):
        said = one_line(task(project, call, "part", {"networks": ["custom_cnn"], "deliver": "branch"}))
        assert "a branch takes all lines of train.runs" in said
    assert not list(project.glob(".work/retrain-part-*")), "a workspace that could not be made was left"


def test_planning_again_after_the_checkout_moved_on_names_the_first_commit(project: Path) -> None:
    first = git(project, "rev-parse", "HEAD").strip()
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for _ in range(2):
        done = task(project, "plan", "moved", PHANTOM)
        assert json.loads(done.stdout.splitlines()[-1]) == {"RETRAIN_COMMIT": first}, done.stderr
        git(project, *identity, "commit", "-q", "--allow-empty", "-m", "The checkout moves on")
    assert git(workspace(project, "moved"), "rev-parse", "HEAD").strip() == first


def test_a_reviewer_can_switch_to_the_branch_and_their_commits_are_kept(project: Path) -> None:
    params = {**PHANTOM, "deliver": "branch"}
    assert task(project, "plan", "review", params).returncode == 0
    place = workspace(project, "review")
    assert task(project, "deliver", "review", params).returncode == 0
    (branch,) = git(project, "branch", "--list", "--format=%(refname:short)", "retrain/review*").split()
    git(project, "switch", "-q", branch)
    try:
        # Looked at in the checkout, delivered again: nothing to do.
        assert task(project, "deliver", "review", params).returncode == 0
        identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
        git(project, *identity, "commit", "-q", "--allow-empty", "-m", "A reviewer's word")
    finally:
        git(project, "switch", "-q", "main")
    tip = git(project, "rev-parse", branch)
    (place / "metrics").mkdir(exist_ok=True)
    (place / "metrics" / "study.json").write_text('{"another": 1}\n')
    assert "git fetch" in one_line(task(project, "deliver", "review", params))
    assert git(project, "rev-parse", branch) == tip, "a reviewer's commit was lost"


def test_a_refused_candidate_leaves_the_checkout_as_it_was(project: Path) -> None:
    params = {"settings": SMALL, "deliver": "checkout"}
    assert task(project, "plan", "refused", params).returncode == 0
    write_candidate(workspace(project, "refused"))  # of phantoms: champion in a workspace alone
    assert [task(project, call, "refused", params).returncode for call in ("gate", "promote")] == [0, 0]
    theirs = write_candidate(project, seed=5)
    before = {path: path.read_bytes() for path in (project / "models").rglob("*") if path.is_file()}
    try:
        assert "trained on phantoms" in one_line(task(project, "deliver", "refused", params))
        after = {path: path.read_bytes() for path in (project / "models").rglob("*") if path.is_file()}
        assert after == before
        # A try that was killed half-way had put the checkout's candidate aside, and its own in the place: the first comes back.
        (project / "models" / "candidate").rename(project / "models" / "candidate-before.tmp")
        shutil.copytree(workspace(project, "refused") / "models" / "candidate", project / "models" / "candidate")
        assert "trained on phantoms" in one_line(task(project, "deliver", "refused", params))
        contract = json.loads((project / "models" / "candidate" / "contract.json").read_text())
        assert contract["version"] == theirs
        assert task(project, "emit_champion_asset", "refused", params).returncode == NOTHING_TO_DO
    finally:
        shutil.rmtree(project / "models")


def test_a_champion_is_announced_when_it_serves_and_not_before(project: Path) -> None:
    params = {"settings": SMALL, "deliver": "checkout"}
    assert task(project, "plan", "announced", params).returncode == 0
    assert task(project, "emit_champion_asset", "announced", params).returncode == NOTHING_TO_DO
    write_candidate(workspace(project, "announced"), dataset="chest-xray-pneumonia")
    try:
        assert [task(project, call, "announced", params).returncode for call in ("gate", "promote")] == [0, 0]
        assert task(project, "emit_champion_asset", "announced", params).returncode == NOTHING_TO_DO
        assert task(project, "deliver", "announced", params).returncode == 0
        # The second time as after a `deliver` that was killed past its work.
        assert [task(project, "emit_champion_asset", "announced", params).returncode for _ in range(2)] == [0, 0]
    finally:
        shutil.rmtree(project / "models")
        git(project, "checkout", "-q", "--", ".")
        git(project, "clean", "-q", "-f", "-d")


def test_finished_retrainings_are_remembered_when_their_workspaces_are_gone(project: Path) -> None:
    """Five runs, the first of them finished and whole: workspaces are few, and what was trained on is still known."""
    source = project.parent / "source"
    for split in ("train", "val", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            (source / split / label).mkdir(parents=True)
            (source / split / label / "a.jpeg").write_bytes(f"{split} {label}".encode())
    told = {"CXR_DATA": str(source)}
    detected = task(project, "detect_new_data", "run-0", **told)
    assert detected.returncode == 0
    digest = detected.stderr.split("new images: ")[1].split()[0]
    for number in range(5):
        run = f"run-{number}"
        assert task(project, "plan", run).returncode == 0
        data = workspace(project, run) / "data"
        data.mkdir(exist_ok=True)
        (data / "dataset.json").write_text(json.dumps({"digest": f"{digest if number == 0 else number}"}))
        tracked = task(project, "track", run, MLFLOW_TRACKING_URI=f"sqlite:///{project.parent / 'mlflow.db'}")
        assert tracked.returncode == 0, tracked.stderr
    left = sorted(path.name[: len("retrain-run-0")] for path in project.glob(".work/retrain-run-*/"))
    assert left == [f"retrain-run-{number}" for number in (1, 2, 3, 4)], "the last three, and the one just ended"
    assert task(project, "detect_new_data", "later", **told).returncode == NOTHING_TO_DO


def test_workspaces_that_never_finished_are_few_too(project: Path) -> None:
    """As on a worker, where no retraining ever ends, or after failures."""
    for number in range(6):
        assert task(project, "plan", f"never-{number}").returncode == 0
        if number == 1:  # a stage runs in it, as this process does
            user = {"pid": os.getpid(), "cmd": "dvc repro"}
            note = workspace(project, "never-1") / ".dvc" / "tmp" / "rwlock"
            note.parent.mkdir(exist_ok=True)
            note.write_text(json.dumps({"write": {"/models/runs/a": user}, "read": {}}))
        if number == 3:  # cleared after a repair: used last, so it stays
            assert task(project, "plan", "never-0").returncode == 0
    left = {path.name[: len("retrain-never-0")] for path in project.glob(".work/retrain-never-*/")}
    assert left == {f"retrain-never-{number}" for number in (0, 1, 3, 4, 5)}
    listed = git(project, "worktree", "list").splitlines()
    assert len(listed) == 1 + len(list(project.glob(".work/retrain-*/")))


def test_a_service_that_ends_by_itself_is_the_reason_that_is_given(tmp_path: Path) -> None:
    """bentoml finds nothing to serve in an empty folder, and ends."""
    with pytest.raises(ProjectError, match="the service ended with status"), served(tmp_path):
        pass


def test_a_branch_can_be_fetched_from_another_clone_by_a_bundle(project: Path, tmp_path: Path) -> None:
    """docs/containers.md, for the head's checkout in a container."""
    git(tmp_path, "clone", "-q", str(project), "head")
    git(tmp_path / "head", "branch", "retrain/run", "HEAD")
    with (tmp_path / "retrain.bundle").open("wb") as bundle:
        create = ["git", "bundle", "create", "-", "--branches=retrain/*"]
        subprocess.run(create, cwd=tmp_path / "head", stdout=bundle, stderr=subprocess.DEVNULL, check=True)
    git(project, "fetch", "-q", str(tmp_path / "retrain.bundle"), "refs/heads/retrain/*:refs/heads/retrain/*")
    assert "retrain/run" in git(project, "branch", "--list", "retrain/run")
