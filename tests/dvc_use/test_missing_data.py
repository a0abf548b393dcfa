"""`make repro` names the stage and the data that it lacks before DVC starts: the real graph, its commands replaced."""

import os
import subprocess
import sys

import pytest

from pipeline import dvc, paths
from pipeline.commands import missing_data
from pipeline.errors import ProjectError
from tests.dvc_use import graph


def edit(folder, stage):
    """Another command for one stage, as after a change of its code."""
    file = folder / "dvc.yaml"
    before = file.read_text()
    file.write_text(before.replace(f"write.sh '{stage}'", f"write.sh '{stage} again'"))
    assert file.read_text() != before


def test_dvc_alone_ends_in_the_middle_with_a_bare_errno(clone):
    """Why there is a check: should DVC come to name what it lacks, the check can go."""
    edit(clone, "package")
    done = graph.call(clone, "repro", "--allow-missing")
    assert done.returncode != 0
    assert "[Errno 2] No such file or directory" in done.stderr


def test_the_stage_and_what_it_lacks_are_named_and_nothing_runs(clone):
    edit(clone, "package")
    edit(clone, "evaluate")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.commands.repro", "--allow-missing"],
        cwd=paths.ROOT, env={**os.environ, "PIPELINE_ROOT": str(clone)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("repro: nothing was run: package (data/arrays, data/groups/validation.csv) would run, ")
    assert "Running stage" not in done.stdout
    assert graph.git(clone, "status", "--porcelain").split() == ["M", "dvc.yaml"]


def test_what_runs_only_after_a_change_before_it_is_told_and_not_refused(clone):
    edit(clone, "evaluate")
    told = missing_data.check(["--allow-missing"], clone)
    assert "package (data/arrays, data/groups/validation.csv)" in told
    assert not any(stage.startswith(("train@", "stress@", "evaluate", "compare")) for stage in told)


def test_data_in_the_cache_is_named_with_the_command_that_brings_it(clone, finished):
    edit(clone, "package")
    dvc_cache = clone / ".dvc" / "config.local"
    dvc_cache.write_text(f"[cache]\n    dir = {finished}/.dvc/cache\n")
    with pytest.raises(ProjectError, match="`dvc checkout data/arrays data/groups/validation.csv` brings"):
        missing_data.check(["--allow-missing"], clone)
    graph.good(graph.call(clone, "checkout", "data/arrays", "data/groups"))
    assert "package" not in " ".join(missing_data.check(["--allow-missing"], clone))


def test_nothing_is_lacking_where_the_stages_before_make_it(clone, project):
    assert missing_data.check([], clone) == []  # plain `dvc repro` in a clone begins with ingest
    edit(project, "preprocess")
    assert missing_data.check([], project) == []


def test_nothing_is_lacking_before_the_first_run(tmp_path):
    assert missing_data.check([], graph.create(tmp_path, graph.KEPT)) == []


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], False),
        (["changed command"], True),
        ([{"changed deps": {"data/arrays": "deleted"}}], False),
        ([{"changed deps": {"data/arrays": "modified"}}], True),
        ([{"changed deps": {"pipeline/learning/another.py": "new"}}], True),
        ([{"changed deps": {"params.yaml": {"train.common.epochs": "new"}}}], True),
        ([{"changed outs": {"models/runs/one": "not in cache"}}], False),
    ],
)
def test_a_stage_differs_where_dvc_would_run_it_though_nothing_is_missing(told, expected):
    assert dvc.differs(told) == expected
