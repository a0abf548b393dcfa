"""The gate of a change, run as a person runs it, in real git repositories with a real DVC pipeline."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_predictions import SMALL, Size, image_rows, write_run

ROOT = Path(__file__).resolve().parents[2]
RUNS = ("custom_cnn-raw-0", "custom_cnn-balanced-0")
ROWS = image_rows(SMALL | {"validation": Size(60, 90)})
DVC_YAML = """\
stages:
  shout:
    cmd: tr a-z A-Z < words.txt > loud.txt
    deps: [words.txt]
    params: [evaluate.threshold]
    metrics:
      - loud.txt: {cache: false}
"""


def sh(folder: Path, *command: str) -> str:
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": bin_first}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commit(folder: Path, message: str) -> None:
    sh(folder, "git", "add", "-A")
    sh(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", message)


def release(folder: Path, version: str, run: str) -> None:
    place = folder / "models" / "champions" / version
    place.mkdir(parents=True)
    (place / "contract.json").write_text(json.dumps({"version": version, "run": run}))
    (folder / "models" / "CHAMPION").write_text(f"{version}\n")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two runs, a champion and a pipeline that ran; its branch is `main`."""
    folder = tmp_path_factory.mktemp("base")
    sh(folder, "git", "init", "-q", "-b", "main")
    sh(folder, "dvc", "init", "-q")
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "words.txt").write_text("figures\n")
    (folder / "dvc.yaml").write_text(DVC_YAML)
    sh(folder, "dvc", "repro", "-q")
    for seed, run in enumerate(RUNS):
        write_run(folder / "predictions" / run, ROWS, seed=seed)
    release(folder, "1", RUNS[0])
    commit(folder, "base")
    sh(folder, "git", "switch", "-q", "-c", "change")
    return folder


@pytest.fixture
def repo(base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(base, tmp_path / "repo", symlinks=True)


def gate(folder: Path, against: str = "main") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.ci.metrics_gate", against],
        cwd=ROOT, env={**os.environ, "PIPELINE_ROOT": str(folder)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_no_change_passes(repo: Path) -> None:
    status, said = gate(repo)
    assert status == 0, said
    assert "FAIL" not in said
    assert "all 2 runs" in said


def test_a_worse_champion_fails_and_a_reason_excuses_it(repo: Path) -> None:
    # The run that is no champion yet decides nothing, however bad.
    write_run(repo / "predictions" / RUNS[1], ROWS, seed=1, quality=0.5)
    assert gate(repo)[0] == 0
    release(repo, "2", RUNS[1])
    status, said = gate(repo)
    assert status == 1
    assert "| **FAIL** | champion's validation auc |" in said
    assert "accepted_falls.yaml" in said.splitlines()[-1]

    reasons = repo / "metrics" / "accepted_falls.yaml"
    reasons.parent.mkdir(exist_ok=True)
    reasons.write_text("- {fall: auc, reason: smaller network}\n- {fall: log_loss, reason: smaller network}\n")
    status, said = gate(repo)
    assert status == 0, said
    assert "Accepted: smaller network" in said

    # Once the base has them, the same entries excuse nothing new.
    commit(repo, "a smaller champion, on purpose")
    sh(repo, "git", "branch", "-f", "main")
    write_run(repo / "predictions" / RUNS[1], ROWS, seed=1, quality=-1.0)
    status, said = gate(repo)
    assert status == 1, said


def test_a_change_cannot_widen_its_own_margin(repo: Path) -> None:
    params = repo / "params.yaml"
    params.write_text(params.read_text().replace("  auc: 0.01\n  log_loss: 0.02\n", "  auc: 1\n  log_loss: 100\n"))
    assert "  auc: 1\n" in params.read_text()
    write_run(repo / "predictions" / RUNS[1], ROWS, seed=1, quality=0.5)
    release(repo, "2", RUNS[1])
    status, said = gate(repo)
    assert status == 1, said
    assert "| **FAIL** | champion's validation auc |" in said
    assert "allowed: 0.01" in said
    # Merged, the new margin counts for the changes after it.
    commit(repo, "wider margins")
    sh(repo, "git", "branch", "-f", "main")
    assert "allowed: 100" in gate(repo)[1]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("params.yaml", "train: {"),
        ("metrics/accepted_falls.yaml", "- {fall: auc, reason: [}"),
        ("metrics/accepted_falls.yaml", "fall: auc"),
        ("models/champions/1/contract.json", "{"),
        ("models/champions/1/contract.json", "{}"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(repo: Path, file: str, text: str) -> None:
    (repo / file).parent.mkdir(exist_ok=True)
    (repo / file).write_text(text)
    status, said = gate(repo)
    assert status == 1
    (line,) = said.strip().splitlines()
    assert line.startswith("metrics-gate: ")
    assert file in line


def test_a_missing_run_fails_until_a_reason_is_given(repo: Path) -> None:
    shutil.rmtree(repo / "predictions" / RUNS[1])
    status, said = gate(repo)
    assert status == 1
    assert f"run {RUNS[1]}" in said
    (repo / "metrics").mkdir(exist_ok=True)
    (repo / "metrics" / "accepted_falls.yaml").write_text(f"- fall: run {RUNS[1]}\n  reason: ' '\n")
    status, said = gate(repo)
    assert status == 1
    assert "`reason`" in said
    (repo / "metrics" / "accepted_falls.yaml").write_text(f"- fall: run {RUNS[1]}\n  reason: no longer trained\n")
    assert gate(repo)[0] == 0


def test_a_champion_taken_away_fails(repo: Path) -> None:
    (repo / "models" / "CHAMPION").unlink()
    status, said = gate(repo)
    assert status == 1
    assert "this change has none" in said


def test_results_that_disagree_with_the_lock_fail(repo: Path) -> None:
    for file, old, new in (
        ("dvc.yaml", "tr a-z A-Z", "tr A-Z a-z"),
        ("params.yaml", "threshold: 0.5", "threshold: 0.6"),
        ("loud.txt", "FIGURES", "PRETTIER FIGURES"),
    ):
        text = (repo / file).read_text()
        assert old in text
        (repo / file).write_text(text.replace(old, new, 1))
    status, said = gate(repo)
    assert status == 1
    for expected in ("shout: ", "changed command", "evaluate.threshold modified", "loud.txt modified"):
        assert expected in said


def test_a_broken_pipeline_fails(repo: Path) -> None:
    (repo / "dvc.yaml").write_text(DVC_YAML.replace("deps: [words.txt]", "deps: words.txt: ["))
    status, said = gate(repo)
    assert status == 1
    assert "dvc status failed" in said


def test_a_clone_without_the_data_passes(repo: Path, tmp_path: Path) -> None:
    commit_free = tmp_path / "clone"
    sh(tmp_path, "git", "clone", "-q", str(repo), str(commit_free))
    (commit_free / "words.txt").unlink()
    status, said = gate(commit_free, "origin/main")
    assert status == 0, said


def test_an_unknown_base_is_one_clear_line(repo: Path) -> None:
    status, said = gate(repo, "mian")
    assert status == 1
    assert len(said.strip().splitlines()) == 1
    assert "mian" in said


def test_the_report_of_a_change_shows_settings_and_metrics(repo: Path) -> None:
    study = repo / "metrics" / "study.json"
    study.parent.mkdir()
    study.write_text(json.dumps({RUNS[0]: {"validation_auc": 0.95}, RUNS[1]: {"validation_auc": 0.9}}))
    dvc_yaml = DVC_YAML.replace("      - loud.txt", "      - metrics/study.json: {cache: false}\n      - loud.txt")
    (repo / "dvc.yaml").write_text(dvc_yaml)
    commit(repo, "figures")
    sh(repo, "git", "branch", "-f", "main")
    study.write_text(json.dumps({RUNS[0]: {"validation_auc": 0.97}, "new-run-0": {"validation_auc": 0.9}}))
    params = repo / "params.yaml"
    params.write_text(params.read_text().replace("threshold: 0.5", "threshold: 0.6"))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.ci.change_report", "main"],
        cwd=ROOT, env={**os.environ, "PIPELINE_ROOT": str(repo)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| evaluate.threshold | 0.5" in done.stdout.replace("  ", " ")
    assert "bar [0.9500]\n    line [0.9700]" in done.stdout
    assert RUNS[0] in done.stdout
