"""Where DVC's cache is: this project asks DVC, also for a relative `cache.dir`."""

import os
import subprocess
import sys

from pipeline import dvc, paths
from tests.dvc_use import graph


def test_a_relative_cache_dir_is_relative_to_the_file_that_sets_it(project):
    graph.good(graph.call(project, "config", "cache.dir", "../shared"))
    assert "dir = ../../shared" in (project / ".dvc" / "config").read_text()
    shared = project.parent / "shared"
    assert dvc.cache_folder(project).resolve() == shared
    (project / ".dvc" / "cache").rename(shared)
    locked = dvc.lock(project)[f"train@{graph.RUN}"]
    md5 = next(out["md5"] for out in locked["outs"] if out["path"].startswith("models/"))
    assert (dvc.paths_in_cache(project) / md5[:2] / md5[2:]).is_file()
    graph.good(graph.call(project, "status"))
    # A network that is in that cache alone is not lost, so it would not be trained again.
    network = project / "models" / "runs" / graph.RUN
    (network / "part").unlink()
    network.rmdir()
    assert dvc.trainings_to_run([graph.RUN], project) == []


def test_a_workspace_shares_the_cache_that_the_checkout_has(project):
    graph.good(graph.call(project, "config", "cache.dir", "../shared"))
    graph.commit(project, "another cache")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.workspaces", "create", "one"],
        cwd=paths.ROOT, env={**os.environ, "PIPELINE_ROOT": str(project)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert dvc.cache_folder(project / ".work" / "one").resolve() == project.parent / "shared"
