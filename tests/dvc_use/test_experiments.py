"""`dvc exp run -S` as docs/operating.md gives it, on the real graph and the real params.yaml."""

from tests.dvc_use import graph


def test_an_experiment_trains_its_run_alone_and_changes_one_line(project):
    line = graph.documented("dvc exp run")
    assert f"train.runs.{graph.RUN}.epochs=1" in line
    ran = graph.ran(graph.call(project, *line))
    assert f"train@{graph.RUN}" in ran and "compare" in ran
    assert [stage for stage in ran if stage.startswith("train@")] == [f"train@{graph.RUN}"]
    changed = graph.git(project, "diff", "--unified=0", "--", "params.yaml").splitlines()
    changed = [line for line in changed if line[0] in "+-" and not line.startswith(("+++", "---")) and line[1:].strip()]
    assert changed == ["-      epochs: 15", "+      epochs: 1"]
    # Back to what was committed, from the run cache: nothing is trained.
    graph.git(project, "checkout", "-q", "--", ".")
    graph.good(graph.call(project, "checkout", "--allow-missing"))
    assert graph.ran(graph.call(project, "repro", "--allow-missing")) == []
