"""One small run of the real graph for every test of this folder."""

import shutil

import pytest

from tests.dvc_use import graph


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The graph with two runs, run and committed; not to be changed."""
    folder = graph.create(tmp_path_factory.mktemp("graph"), graph.KEPT)
    assert len(graph.ran(graph.call(folder, "repro"))) == 15
    graph.commit(folder, "study")
    return folder


@pytest.fixture
def project(finished, tmp_path):
    """A copy of it, cache and data included."""
    return shutil.copytree(finished, tmp_path / "project")


@pytest.fixture
def clone(finished, tmp_path):
    """A clone of it: neither data nor cache."""
    graph.git(tmp_path, "clone", "-q", str(finished), "clone")
    return tmp_path / "clone"
