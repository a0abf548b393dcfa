"""Promotion, rollback and what may interrupt them, by the commands that people run, on real files."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from candidate_fixture import HOME, command, write_candidate

CHAMPION = "pipeline.registry.champion"


@pytest.fixture
def root(tmp_path):
    """A workspace: its parent's name says so."""
    folder = tmp_path / ".work" / "try"
    folder.mkdir(parents=True)
    return folder


def champion(root: Path) -> str | None:
    pointer = root / "models" / "CHAMPION"
    return pointer.read_text().strip() if pointer.exists() else None


def record(root: Path) -> list[dict]:
    path = root / "models" / "promotions.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def promote(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command(root, CHAMPION, "promote", *arguments)


def promoted(root: Path, **candidate) -> str:
    version = write_candidate(root, **candidate)
    result = promote(root)
    assert result.returncode == 0, result.stderr
    assert champion(root) == version
    return version


def driven(root: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HOME / "tests" / "promotion_driver.py"), *map(str, arguments)],
        env={**os.environ, "PIPELINE_ROOT": str(root), "PYTHONPATH": str(HOME)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_promote_show_replace_and_roll_back(root):
    assert "no champion yet" in command(root, CHAMPION, "show").stdout
    first = promoted(root, auc=0.99)
    assert (root / "models" / "CHAMPION").read_text() == f"{first}\n"
    kept = {path.name for path in (root / "models" / "champions" / first).iterdir()}
    assert kept == {
        "model.onnx",
        "contract.json",
        "guard.npz",
        "card.md",
        "predictions.csv",
        "stress.csv",
        "unseen.csv",
    }

    second = promoted(root, auc=0.992)
    last = record(root)[-1]
    assert (last["action"], last["version"], last["replaces"]) == ("promote", second, first)
    assert last["dataset"] == "phantom" and last["figures"]["validation"]["auc"]["value"] == 0.992
    assert last["at"].endswith("+00:00") and {rule["name"] for rule in last["gate"]["rules"]} >= {"AUC", "log loss"}
    shown = command(root, CHAMPION, "show").stdout
    assert f"champion  {second}" in shown and f"before    {first}" in shown and "0.9920" in shown

    back = command(root, CHAMPION, "rollback")
    assert back.returncode == 0 and champion(root) == first
    assert (record(root)[-1]["action"], record(root)[-1]["replaces"]) == ("rollback", second)
    again = command(root, CHAMPION, "rollback")
    assert again.returncode == 1 and f"no champion to go back to: {first} is the first" in again.stderr

    refused = promote(root)
    assert refused.returncode == 1 and f"{second} was rolled back before" in refused.stderr
    assert promote(root, "--again").returncode == 0
    assert champion(root) == second


def test_promoting_twice_changes_nothing(root):
    version = promoted(root)
    before = {path: path.read_bytes() for path in (root / "models").rglob("*") if path.is_file()}
    result = promote(root)
    assert result.returncode == 0 and f"{version} is the champion already" in result.stderr
    assert before == {path: path.read_bytes() for path in (root / "models").rglob("*") if path.is_file()}


def test_a_rejected_candidate_stays_a_challenger_and_nothing_moves(root):
    first = promoted(root, auc=0.995)
    before = record(root)
    worse = write_candidate(root, auc=0.97)
    result = promote(root)
    assert result.returncode == 1
    assert f"{worse} stays a challenger: AUC (bound -0.0" in result.stderr
    assert champion(root) == first and record(root) == before
    assert not (root / "models" / "champions" / worse).exists()
    # Each rule is shown with its numbers, the test metrics beside them.
    assert "FAIL AUC" in result.stdout and "shown, read by no rule: official test auc 0.97" in result.stdout
    assert json.loads((root / "metrics" / "gate.json").read_text())["passed"] is False


def test_quality_cannot_creep_down_below_the_best_on_record(root):
    best = promoted(root, auc=0.998)
    promoted(root, auc=0.9965)
    write_candidate(root, auc=0.985)
    result = promote(root)
    assert result.returncode == 1 and f"against best on record {best}" in result.stdout


@pytest.mark.parametrize("auc", [0.998, 0.97])
def test_the_gate_decides_and_changes_nothing(root, auc):
    promoted(root, auc=0.995)
    write_candidate(root, auc=auc, seed=1)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    asked = command(root, "pipeline.registry.gate")
    assert asked.returncode == (0 if auc == 0.998 else 1), asked.stdout
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert command(root, "pipeline.registry.gate", "--keep").returncode == asked.returncode
    assert json.loads((root / "metrics" / "gate.json").read_text())["passed"] is (auc == 0.998)


def test_a_candidate_that_was_not_measured_is_no_rejection_but_an_error(root):
    promoted(root, auc=0.995)
    write_candidate(root, auc=0.995, seed=1)
    (root / "models" / "candidate" / "unseen.csv").unlink()
    contract_path = root / "models" / "candidate" / "contract.json"
    named = json.loads(contract_path.read_text())
    del named["files"]["unseen.csv"]
    contract_path.write_text(json.dumps(named))
    asked = command(root, "pipeline.registry.gate", "--keep")
    assert asked.returncode == 1 and "candidate was not measured with version 1" in asked.stderr
    assert asked.stderr.count("Traceback") == 0


def test_no_rule_reads_the_test_metrics(root):
    decisions = []
    for value in (0.5, 0.99):
        estimate = {"value": value, "low": value, "high": value}
        names = ("auc", "sensitivity_at_sensitive", "specificity_at_sensitive")
        metrics = {"validation": dict.fromkeys(names, estimate), "test": dict.fromkeys(names, estimate), "stress": {}}
        write_candidate(root, figures=metrics)
        assert command(root, "pipeline.registry.gate", "--keep").returncode == 0
        decisions.append(json.loads((root / "metrics" / "gate.json").read_text())["rules"])
    assert decisions[0] == decisions[1]


def test_a_damaged_candidate_fails_its_contract_tests(root):
    write_candidate(root)
    graph = root / "models" / "candidate" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-10])
    result = promote(root)
    assert (
        result.returncode == 1
        and "contract tests (candidate/model.onnx is not the file that was packaged)" in result.stderr
    )
    assert champion(root) is None


def test_a_graph_that_breaks_its_promise_is_rejected(root):
    write_candidate(root, recalibration={"intercept": 1.0, "slope": 1.0})
    result = promote(root)
    assert result.returncode == 1 and "the probability is not the declared recalibration of the logit" in result.stderr


def test_a_candidate_larger_than_the_release_limit_is_refused(root):
    write_candidate(root)
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("max_megabytes: 45 ", "max_megabytes: 0.001 "))
    result = promote(root)
    assert result.returncode == 1 and "compare.release.max_megabytes is 0.001" in result.stderr


def test_no_phantom_outside_a_workspace(tmp_path):
    root = tmp_path / "checkout"
    root.mkdir()
    write_candidate(root)
    result = promote(root)
    assert result.returncode == 1 and "trained on phantoms: it can be champion in a workspace alone" in result.stderr
    assert champion(root) is None


def test_no_other_data_set_than_the_champions_outside_a_workspace(tmp_path):
    root = tmp_path / "checkout"
    root.mkdir()
    first = promoted(root, dataset="chest-xray-pneumonia")
    write_candidate(root, dataset="another", auc=0.999)
    result = promote(root)
    assert (
        result.returncode == 1
        and f"data set another, champion {first} of chest-xray-pneumonia: refused" in result.stderr
    )
    write_candidate(root, auc=0.999)
    assert "phantoms" in promote(root).stderr
    assert champion(root) == first


def test_missing_files_of_the_champion_are_named(root):
    first = promoted(root)
    second = promoted(root, auc=0.993)
    (root / "models" / "champions" / second / "model.onnx").unlink()
    shown = command(root, CHAMPION, "show")
    assert (
        f"{second}/model.onnx is missing" in shown.stdout
        and f"git checkout -- models/champions/{second}" in shown.stdout
    )
    shutil.rmtree(root / "models" / "champions" / first)
    back = command(root, CHAMPION, "rollback")
    assert back.returncode == 1 and f"the files of {first} are not at hand" in back.stderr
    assert champion(root) == second


def test_of_two_promotions_at_once_one_wins_and_the_other_says_so(root):
    version = write_candidate(root)
    first = driven(root, "hold", "promote", 3)
    while first.stdout.readline() != "waiting\n":  # the rules come before
        assert first.poll() is None
    second = promote(root)
    assert second.returncode == 1 and "another promotion or rollback is under way" in second.stderr
    assert champion(root) is None
    first.communicate("", timeout=60)
    assert first.returncode == 0 and champion(root) == version
    assert [event["version"] for event in record(root)] == [version]


@pytest.mark.parametrize("verb", ["promote", "rollback"])
def test_a_crash_between_any_two_steps_leaves_the_old_champion_and_is_healed(root, verb):
    old = promoted(root, auc=0.99)
    new = promoted(root, auc=0.993) if verb == "rollback" else write_candidate(root, auc=0.993)
    serving, wanted = (old, new) if verb == "promote" else (new, old)
    tries = driven(root, "crash", verb)
    output, errors = tries.communicate(timeout=240)
    assert tries.returncode == 0, errors
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    *killed, last = lines
    assert {attempt["status"] for attempt in killed} == {-signal.SIGKILL}
    assert len(killed) > (8 if verb == "promote" else 4)
    for attempt in killed:
        assert attempt["champion"] == serving and "PROBLEM" not in attempt["shown"], attempt
    assert last["champion"] == wanted and "PROBLEM" not in last["shown"]
    assert champion(root) == wanted
    events = [(event["action"], event["version"]) for event in record(root)]
    assert events == [("promote", old), ("promote", new), ("rollback", old)][: 2 if verb == "promote" else 3]
    if verb == "promote":
        assert promote(root).returncode == 0
        assert not list((root / "models" / "champions").glob(".*"))
    assert "PROBLEM" not in command(root, CHAMPION, "show").stdout


def test_a_delivery_killed_at_any_step_leaves_one_candidate_or_the_other_whole_and_is_healed(root, tmp_path):
    """deliver.install: the candidate of a retraining's workspace becomes the checkout's, and is promoted there."""
    old = promoted(root, auc=0.99)
    shutil.copytree(HOME / "pipeline", root / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))  # a checkout
    workspace = tmp_path / "retraining"
    new = write_candidate(workspace, auc=0.993)
    tries = driven(root, "crash", f"install={workspace}")
    output, errors = tries.communicate(timeout=240)
    assert tries.returncode == 0, errors
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    *killed, last = lines
    assert len(killed) > 8 and {attempt["status"] for attempt in killed} == {-signal.SIGKILL}
    for attempt in killed:
        assert attempt["champion"] == old and attempt["candidate"] in (old, new) and not attempt["broken"], attempt
        assert "PROBLEM" not in attempt["shown"]
    assert {attempt["candidate"] for attempt in killed} >= {old}
    assert last["champion"] == new == last["candidate"]
    again = driven(root, "run", f"install={workspace}")
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert [path.name for path in (root / "models").glob("candidate*")] == ["candidate"]


def test_a_delivery_that_the_gate_refuses_leaves_the_candidate_that_was_there(root, tmp_path):
    old = promoted(root, auc=0.99)
    shutil.copytree(HOME / "pipeline", root / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))  # a checkout
    workspace = tmp_path / "retraining"
    write_candidate(workspace, auc=0.9)
    refused = driven(root, "run", f"install={workspace}")
    _, errors = refused.communicate(timeout=120)
    assert refused.returncode != 0 and "stays a challenger" in errors
    assert json.loads((root / "models" / "candidate" / "contract.json").read_text())["version"] == old == champion(root)
    assert [path.name for path in (root / "models").glob("candidate*")] == ["candidate"]
