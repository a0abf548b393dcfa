"""`make merge-runs` in real repositories: branches that DVC ran, and the conflicts that git makes of them."""

import contextlib
import hashlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from dvc.repo import Repo
from dvc.utils.serialize import dump_yaml, load_yaml

from pipeline import dvc, paths
from pipeline.command import run
from pipeline.commands import merge_runs, params_text
from tests.retraining_fixture import git

GRAPH = """\
stages:
  train:
    foreach: ${train.runs}
    do:
      cmd: >-
        mkdir -p models predictions/${key} &&
        echo ${key} ${item.epochs} | tee models/${key} > predictions/${key}/pictures.csv
      params: [train.common, "train.runs.${key}"]
      outs:
        - models/${key}
        - predictions/${key}/pictures.csv: {cache: false}
  evaluate:
    cmd: cat predictions/*/pictures.csv > study.csv
    deps: [predictions]
    outs:
      - study.csv: {cache: false}
"""
PARAMS = """\
# every knob
train:
  common:
    rate: 1e-05   # small
    patience: 2
  runs:
    # the first two
    a-0:
      network: custom_cnn
      epochs: 3
    b-0:
      network: custom_cnn
      epochs: 3
  planned: {}

evaluate:
  resamples: 2000
  seed: 0
"""
A = "    a-0:\n      network: custom_cnn\n      epochs: 3"
EDITS = {  # branch: what it replaces in params.yaml
    "adds_c": ("  planned", "    c-0:\n      network: custom_cnn\n      epochs: 3\n  planned"),
    "adds_d": ("  planned", "    # another one\n    d-0:\n      network: vgg16\n      epochs: 1\n  planned"),
    "adds_c_otherwise": ("  planned", "    c-0:\n      network: vgg16\n      epochs: 4\n  planned"),
    "changes_a": (
        "    a-0:\n      network: custom_cnn\n      epochs: 3",
        "    a-0:\n      network: custom_cnn\n      epochs: 5",
    ),
    "changes_a_otherwise": (
        "    a-0:\n      network: custom_cnn\n      epochs: 3",
        "    a-0:\n      network: custom_cnn\n      epochs: 7",
    ),
    "deletes_b": ("    b-0:\n      network: custom_cnn\n      epochs: 3\n", ""),
    "changes_common": ("patience: 2", "patience: 3"),
    "changes_seed": ("seed: 0", "seed: 1"),
    "changes_seed_otherwise": ("seed: 0\n", "seed: 2\n"),
}


def commit(root, message):
    git(root, "add", "-A")
    git(root, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", message)


def reproduce(root):
    with contextlib.chdir(root), Repo() as repo:
        repo.reproduce()


@pytest.fixture(scope="module")
def branches(tmp_path_factory):
    """A repository with one branch for each of EDITS, every one with what DVC made of it."""
    root = tmp_path_factory.mktemp("branches")
    git(root, "init", "-q", "-b", "main")
    subprocess.run(dvc.command("init", "-q"), cwd=root, check=True)
    (root / ".gitignore").write_text("/models\n")
    (root / "dvc.yaml").write_text(GRAPH)
    (root / "params.yaml").write_text(PARAMS)
    reproduce(root)
    commit(root, "base")
    for branch, (old, new) in EDITS.items():
        git(root, "checkout", "-q", "-b", branch, "main")
        assert PARAMS.count(old) == 1
        (root / "params.yaml").write_text(PARAMS.replace(old, new))
        reproduce(root)
        commit(root, branch)
    return root


@pytest.fixture
def repository(branches, tmp_path):
    root = shutil.copytree(branches, tmp_path / "repository")
    git(root, "config", "user.name", "t")
    git(root, "config", "user.email", "t@t")
    return root


def conflict(root, ours, theirs, command="merge"):
    """Stop in the middle of a merge, a rebase or a cherry-pick, whose files in conflict are returned."""
    git(root, "checkout", "-q", ours)
    subprocess.run(["git", command, theirs], cwd=root, capture_output=True, check=False)
    return unmerged(root)


def unmerged(root):
    return {line.split("\t")[1] for line in git(root, "ls-files", "-u").splitlines()}


def call(root, *arguments):
    """The command in this process: the exit status, and what it says."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "ROOT", root)
        patch.setattr(sys, "argv", ["merge_runs", *arguments])
        merge_runs.log.setLevel(logging.INFO)
        merge_runs.log.addHandler(handler)
        try:
            run("merge-runs", merge_runs.main)
        except SystemExit as end:
            return 1, said.getvalue() + str(end.code)
        finally:
            merge_runs.log.removeHandler(handler)
    return 0, said.getvalue()


def typed(root, *arguments):
    """The command as a person starts it."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.commands.merge_runs", *arguments],
        cwd=paths.ROOT, env={**os.environ, "PIPELINE_ROOT": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def refused(root, *arguments):
    """The one line that it ends with; nothing is changed, in the tree or for git."""
    before = state(root)
    status, said = call(root, *arguments)
    assert status == 1, said
    assert len(said.splitlines()) == 1, said
    assert state(root) == before
    return said


def state(root):
    return [(root / name).read_text() for name in ("dvc.lock", "params.yaml")], git(root, "ls-files", "-s")


def runs(root):
    return yaml.safe_load((root / "params.yaml").read_text())["train"]["runs"]


def locked(root, revision=None):
    text = git(root, "show", f"{revision}:dvc.lock") if revision else (root / "dvc.lock").read_text()
    return yaml.safe_load(text)["stages"]


def merged(root, *arguments):
    status, said = call(root, *arguments)
    assert status == 0, said
    assert not {"dvc.lock", "params.yaml"} & unmerged(root)
    return said


def changed(root):
    """The stages that DVC itself would run again; networks come from its cache."""
    with contextlib.chdir(root), Repo() as repo:
        repo.checkout(force=True)
        return set(repo.status())


def nothing_stands_in_conflict(root):
    assert "<<<<" not in (root / "dvc.lock").read_text() + (root / "params.yaml").read_text()


@pytest.mark.parametrize("command", ["merge", "rebase", "cherry-pick"])
def test_two_branches_that_each_add_a_run(repository, command):
    assert conflict(repository, "adds_c", "adds_d", command) == {"dvc.lock", "params.yaml", "study.csv"}
    assert "both sides changed evaluate: ours stays, and is stale; run dvc repro" in merged(repository)
    # In a rebase, ours is the branch beneath.
    ours, theirs = ("c-0", "d-0") if command != "rebase" else ("d-0", "c-0")
    assert list(runs(repository)) == ["a-0", "b-0", ours, theirs]
    text = (repository / "params.yaml").read_text()
    assert text.count("    # another one\n    d-0:\n      network: vgg16\n      epochs: 1\n") == 1
    assert text.replace(EDITS["adds_c"][1][:-9], "").replace(EDITS["adds_d"][1][:-9], "") == PARAMS
    stages = locked(repository)
    for branch in ("adds_c", "adds_d"):
        for name, stage in locked(repository, branch).items():
            assert name == "evaluate" or stages[name] == stage
    assert stages["evaluate"] == locked(repository, "adds_c" if command != "rebase" else "adds_d")["evaluate"]
    assert changed(repository) == {"evaluate"}, "no training is run again"


def test_the_result_goes_on_to_a_commit(repository):
    conflict(repository, "adds_c", "adds_d")
    assert "still in conflict: study.csv" in merged(repository)
    with contextlib.chdir(repository), Repo() as repo:
        repo.checkout(force=True)
        assert [stage.addressing for stage in repo.reproduce(allow_missing=True, dry=True)] == ["evaluate"]
    reproduce(repository)
    commit(repository, "merged")
    assert (repository / "study.csv").read_text() == "a-0 3\nb-0 3\nc-0 3\nd-0 1\n"
    assert changed(repository) == set()
    nothing_stands_in_conflict(repository)


def test_what_is_in_the_lock_keeps_its_type(repository):
    """1e-05 is a number to DVC and a word to other readers of YAML: as a word it would make every training stale."""
    conflict(repository, "adds_c", "adds_d")
    merged(repository)
    assert "rate: '1e-05'" not in (repository / "dvc.lock").read_text()


@pytest.mark.parametrize(("ours", "theirs"), [("changes_a", "adds_c"), ("adds_c", "changes_a")])
def test_one_changes_a_run_that_the_other_leaves(repository, ours, theirs):
    conflict(repository, ours, theirs)
    merged(repository)
    assert runs(repository)["a-0"]["epochs"] == 5
    assert locked(repository)["train@a-0"] == locked(repository, "changes_a")["train@a-0"]
    assert changed(repository) == {"evaluate"}


CLASHES = [("changes_a", "changes_a_otherwise", "a-0"), ("adds_c", "adds_c_otherwise", "c-0")]


@pytest.mark.parametrize(("ours", "theirs", "name"), CLASHES)
def test_both_changed_the_same_training(repository, ours, theirs, name):
    conflict(repository, ours, theirs)
    said = refused(repository)
    assert f"both sides changed the training of {name}; nothing is merged" in said
    assert "make merge-runs TAKE=ours or TAKE=theirs" in said


@pytest.mark.parametrize(("ours", "theirs", "name"), CLASHES)
@pytest.mark.parametrize("take", ["ours", "theirs"])
def test_a_person_says_whose_training_holds(repository, ours, theirs, name, take):
    conflict(repository, ours, theirs)
    merged(repository, "--take", take)
    taken = ours if take == "ours" else theirs
    assert (
        runs(repository)[name] == yaml.safe_load(git(repository, "show", f"{taken}:params.yaml"))["train"]["runs"][name]
    )
    assert locked(repository)[f"train@{name}"] == locked(repository, taken)[f"train@{name}"]
    git(repository, "checkout", f"--{take}", "--", f"predictions/{name}")
    assert changed(repository) <= {"evaluate"}


def test_a_training_that_was_run_again_on_both_sides_with_equal_settings(repository):
    """Settings alone do not tell: code, data or a machine made two results."""
    for branch in ("adds_c", "adds_d"):
        git(repository, "checkout", "-q", branch)
        lock = load_yaml(str(repository / "dvc.lock"))
        lock["stages"]["train@a-0"]["outs"][0]["md5"] = hashlib.md5(branch.encode()).hexdigest()
        dump_yaml(str(repository / "dvc.lock"), lock)
        commit(repository, "trained again")
    conflict(repository, "adds_c", "adds_d")
    assert "both sides changed the training of a-0; nothing is merged" in refused(repository)


@pytest.mark.parametrize(("ours", "theirs"), [("deletes_b", "adds_c"), ("adds_c", "deletes_b")])
def test_a_run_deleted_on_one_side_stays_deleted(repository, ours, theirs):
    conflict(repository, ours, theirs)
    merged(repository)
    assert list(runs(repository)) == ["a-0", "c-0"]
    assert changed(repository) <= {"evaluate"}


def test_a_run_that_one_side_deleted_and_the_other_changed(repository):
    git(repository, "checkout", "-q", "-b", "changes_b", "main")
    (repository / "params.yaml").write_text(PARAMS.replace("3\n  planned", "9\n  planned"))
    commit(repository, "changes b")
    conflict(repository, "deletes_b", "changes_b")
    assert "both sides changed the training of b-0" in refused(repository)


def test_common_settings_changed_on_one_side(repository):
    """They change every training of that side; the other's new run is then stale, and DVC says so."""
    conflict(repository, "changes_common", "adds_c")
    merged(repository)
    assert yaml.safe_load((repository / "params.yaml").read_text())["train"]["common"]["patience"] == 3
    assert list(runs(repository)) == ["a-0", "b-0", "c-0"]
    assert changed(repository) == {"train@c-0"}


def test_a_conflict_outside_the_runs_stays_one_and_is_named(repository):
    for branch, edit in (("changes_seed", "adds_c"), ("changes_seed_otherwise", "adds_d")):
        git(repository, "checkout", "-q", branch)
        text = (repository / "params.yaml").read_text()
        (repository / "params.yaml").write_text(text.replace(*EDITS[edit]))
        reproduce(repository)
        commit(repository, f"{branch}, {edit}")
    conflict(repository, "changes_seed", "changes_seed_otherwise")
    status, said = call(repository)
    assert status == 1
    assert "params.yaml" in unmerged(repository)
    text = (repository / "params.yaml").read_text()
    line = text.splitlines().index(f"<<<<<<< {params_text.LABEL}") + 1
    named = f"params.yaml: train.runs is merged; a conflict outside it is left: line {line} (evaluate.seed); settle it"
    assert named in said and len(said.splitlines()) == 1
    assert text.count("<<<<<<< ") == 1
    assert text.index("    c-0:\n") < text.index("    d-0:\n") < text.index("<<<<<<< ")
    # What a person does to it by hand is not undone.
    (repository / "params.yaml").write_text(text.replace("  seed: 1\n", "  seed: 3\n"))
    assert named in refused(repository)
    assert "  seed: 3\n" in (repository / "params.yaml").read_text()
    settled = text[: text.index("<<<<<<< ")] + "  seed: 4\n"
    (repository / "params.yaml").write_text(settled)
    merged(repository)
    assert (repository / "params.yaml").read_text() == settled
    assert changed(repository) == {"evaluate"}


def test_a_run_or_a_stage_that_was_lost_by_hand_is_named(repository):
    conflict(repository, "adds_c", "adds_d")
    shutil.copy(repository / "dvc.lock", repository / "conflict.lock")
    for name in ("params.yaml", "dvc.lock"):
        git(repository, "checkout", "--ours", "--", name)
    said = refused(repository)
    assert "dvc.lock lacks train@d-0, params.yaml lacks the run d-0" in said
    assert "git checkout --merge -- dvc.lock params.yaml starts over" in said
    git(repository, "checkout", "--merge", "--", "dvc.lock", "params.yaml")
    merged(repository)


def test_lines_of_both_sides_in_one_stage_are_named(repository):
    """What `merge=union` makes: valid YAML, and a result that nobody made."""
    conflict(repository, "adds_c", "adds_d")
    lock = {"schema": "2.0", "stages": {**locked(repository, "adds_d"), **locked(repository, "adds_c")}}
    lock["stages"]["train@d-0"] = {**lock["stages"]["train@d-0"], "outs": lock["stages"]["train@c-0"]["outs"]}
    dump_yaml(str(repository / "dvc.lock"), lock)
    status, said = call(repository)
    assert status == 1
    assert "dvc.lock has train@d-0 as neither side has it" in said
    assert "dvc.lock" in unmerged(repository)


def test_a_stage_that_dvc_reads_otherwise_is_named(repository):
    """dvc.yaml was merged by git without a conflict, and does not fit."""
    conflict(repository, "adds_c", "adds_d")
    (repository / "dvc.yaml").write_text(GRAPH.replace("foreach: ${train.runs}", "foreach: ${train.run}"))
    status, said = call(repository)
    assert status == 1
    assert "DVC cannot read the merged files: " in said and len(said.splitlines()) == 1
    assert {"dvc.lock", "params.yaml"} <= unmerged(repository)


def test_dvc_yaml_comes_first(repository):
    for branch in ("adds_c", "adds_d"):
        git(repository, "checkout", "-q", branch)
        (repository / "dvc.yaml").write_text(f"# {branch}\n{GRAPH}")
        commit(repository, "a word")
    assert "dvc.yaml" in conflict(repository, "adds_c", "adds_d")
    assert "dvc.yaml is in conflict: settle it by hand" in refused(repository)


@pytest.mark.parametrize("name", ["params.yaml", "dvc.lock"])
def test_a_side_that_is_no_yaml_is_one_line(repository, name):
    git(repository, "checkout", "-q", "adds_d")
    (repository / name).write_text((repository / name).read_text() + "rate: {\n")
    commit(repository, "broken")
    conflict(repository, "adds_c", "adds_d")
    lines = len(git(repository, "show", f"adds_d:{name}").splitlines())
    assert f"merge-runs: {name} (theirs), line {lines + 1}: " in refused(repository)


def test_a_key_that_stands_twice_on_one_side_is_refused(repository):
    git(repository, "checkout", "-q", "adds_d")
    text = (repository / "params.yaml").read_text()
    (repository / "params.yaml").write_text(text.replace(*EDITS["adds_d"]))
    commit(repository, "twice")
    conflict(repository, "adds_c", "adds_d")
    assert 'params.yaml (theirs), line 19: found duplicate key "d-0"; mend it' in refused(repository)


def test_nothing_to_merge(repository):
    git(repository, "checkout", "-q", "adds_c")
    done = typed(repository)
    assert done.returncode == 0
    assert "nothing to merge: neither dvc.lock nor params.yaml is in conflict" in done.stderr
    assert git(repository, "status", "--porcelain") == ""


def test_as_a_person_types_it(repository):
    conflict(repository, "changes_a", "changes_a_otherwise")
    done = typed(repository)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("merge-runs: both sides changed the training of a-0") and done.stderr.count("\n") == 1
    done = subprocess.run(
        ["make", "-o", "setup", "merge-runs", "TAKE=theirs", "RUN=" + f"{sys.executable} -m"],
        cwd=paths.ROOT, env={**os.environ, "PIPELINE_ROOT": str(repository)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert runs(repository)["a-0"]["epochs"] == 7


def further_run(root, name, seed):
    """On a branch of its own: a run as the study's last one, and a dvc.lock as it is after its training and what follows."""
    git(root, "checkout", "-q", "-b", name, "main")
    parts = params_text.split((root / "params.yaml").read_text(), "params.yaml")
    model, run = list(parts.runs.items())[-1]
    table = "".join(part.comment + part.lines for part in parts.runs.values()) + run.lines.replace(model, name)
    (root / "params.yaml").write_text(parts.before + table + parts.after)
    lock = load_yaml(str(root / "dvc.lock"))
    changed, stages = {"predictions", "models/runs"}, lock["stages"]
    stages[f"train@{name}"] = json.loads(json.dumps(stages[f"train@{model}"]).replace(model, name))
    for stage in (stages[name] for name in ("evaluate", "compare", "package", "explain", "report")):
        if any(entry["path"] in changed for entry in stage["deps"]):
            changed |= {entry["path"] for entry in stage["outs"] if not entry["path"].startswith("models/")}
        for entry in [*stage["deps"], *stage["outs"]]:
            if entry["path"] in changed:
                entry["md5"] = hashlib.md5(f"{name} {entry['path']}".encode()).hexdigest()
                entry["size"] += seed
    dump_yaml(str(root / "dvc.lock"), lock)
    commit(root, name)


def test_the_projects_own_files(tmp_path):
    """Two branches that each add a run: more than ten conflicts in the committed dvc.lock, and none after the command."""
    git(tmp_path, "init", "-q", "-b", "main")
    subprocess.run(dvc.command("init", "-q"), cwd=tmp_path, check=True)
    for name in ("dvc.yaml", "dvc.lock", "params.yaml"):
        shutil.copy(paths.ROOT / name, tmp_path / name)
    commit(tmp_path, "the project")
    before = runs(tmp_path)
    for seed, name in enumerate(("further-1", "further-2"), start=1):
        further_run(tmp_path, name, seed)
    conflict(tmp_path, "further-1", "further-2")
    hunks = (tmp_path / "dvc.lock").read_text().count("<<<<<<< ")
    print(f"{hunks} conflicts in dvc.lock before")
    assert hunks > 10
    merged(tmp_path)
    nothing_stands_in_conflict(tmp_path)
    assert list(runs(tmp_path)) == [*before, "further-1", "further-2"]
    assert {"train@further-1", "train@further-2"} <= locked(tmp_path).keys()
    added = git(tmp_path, "diff", "--numstat", "further-1", "--", "params.yaml").split()
    assert added[1] == "0", "every other line of params.yaml stays"
