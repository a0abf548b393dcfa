"""One toy study for every test of this folder: it takes minutes, so it is run once."""

import pytest

from pipeline import paths, workspaces
from tests.study_fixture import OVERLAY, call


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A workspace in which the whole graph ran once."""
    patch = pytest.MonkeyPatch()
    patch.setattr(paths, "WORKSPACES", tmp_path_factory.mktemp("work"))
    folder = workspaces.create("toy", OVERLAY, copy=True)
    patch.undo()
    done = call(folder, "repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.fixture
def project(finished):
    """The finished workspace, its settings, code and lock put back after the test."""
    files = [
        finished / "params.yaml",
        finished / "dvc.lock",
        *finished.glob("pipeline/**/*.py"),
        *finished.glob("plots/**/*.svg"),
    ]
    kept = {file: file.read_bytes() for file in files}
    yield finished
    for file, content in kept.items():
        file.write_bytes(content)
