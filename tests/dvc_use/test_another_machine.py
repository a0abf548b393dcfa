"""A run trained on another machine comes back with plain DVC and git; here nothing is trained again."""

import json
import shutil

from tests.dvc_use import graph

NEW = "custom_cnn-raw-1"
NEEDED = ("dataset.json", "arrays", "groups")  # of data/; docs/operating.md names them


def add_run(folder):
    file = folder / "params.yaml"
    text = file.read_text()
    entry = text[text.index(f"    {graph.RUN}:") :].split("    custom_cnn-robust-0:")[0]
    file.write_text(text.replace(entry, entry + entry.replace("raw-0", "raw-1").replace("seed: 0", "seed: 1")))
    graph.commit(folder, "another run")


def nowhere(folder):
    """What is stored nowhere, as DVC names it."""
    return json.loads(graph.good(graph.call(folder, *graph.documented("dvc data status"), "--json")))["not_in_remote"]


def test_clone_train_push_commit_and_here_nothing_is_trained_again(project, tmp_path):
    add_run(project)
    there = tmp_path / "there"
    graph.git(tmp_path, "clone", "-q", str(project), "there")
    (there / "data").mkdir(exist_ok=True)
    for name in NEEDED:
        source = project / "data" / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, there / "data" / name)
    stages = [f"train@{NEW}", f"stress@{NEW}"]
    assert graph.ran(graph.call(there, "repro", "--single-item", *stages)) == stages
    assert f"models/runs/{NEW}/" in nowhere(there)
    graph.good(graph.call(there, "push", f"train@{NEW}"))
    assert f"models/runs/{NEW}/" not in nowhere(there)
    graph.git(there, "add", "dvc.lock", "predictions", "models/networks")
    left = [line for line in graph.git(there, "status", "--porcelain").splitlines() if line[1] != " "]
    assert left == [], "what the docs name is all that is new"
    graph.commit(there, "trained")

    graph.git(project, "pull", "-q", str(there), "main")
    ran = graph.ran(graph.call(project, "repro", "--allow-missing"))
    assert {"evaluate", "compare", "package"} <= set(ran)
    assert not [stage for stage in ran if "@" in stage], "trained again"
    assert not (project / "models" / "runs" / NEW).exists()
    graph.good(graph.call(project, "pull", f"train@{NEW}"))
    assert (project / "models" / "runs" / NEW / "part").read_text() == f"{NEW} 15\n"
