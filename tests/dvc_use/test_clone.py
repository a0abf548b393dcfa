"""A newcomer's first three commands, on a clone of the last commit: work that is not committed is not seen here.

While dvc.lock is that of another layout of dvc.yaml (between a change of the graph and `make same-training`), this fails: then
a newcomer's clone would train everything again.
"""

import pytest
import yaml

from tests.dvc_use import graph


@pytest.fixture(scope="module")
def cloned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("newcomer")
    graph.git(folder, "clone", "-q", "--no-hardlinks", str(graph.ROOT), "clone")
    return folder / "clone"


def test_pull_and_repro_end_well_and_have_nothing_to_do(cloned):
    graph.good(graph.call(cloned, "pull", "--allow-missing"))
    assert graph.ran(graph.call(cloned, "repro", "--allow-missing")) == []
    assert graph.git(cloned, "status", "--porcelain") == ""


def test_every_network_that_is_stored_was_brought(cloned):
    graph.good(graph.call(cloned, "pull", "--allow-missing"))
    stages = yaml.safe_load((cloned / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    stored = cloned / "models" / "networks" / "files" / "md5"
    networks = [path for path, md5 in outs.items() if (stored / md5[:2] / md5[2:]).exists()]
    assert networks, "models/networks holds nothing that dvc.lock names"
    assert [path for path in networks if not (cloned / path).exists()] == []
