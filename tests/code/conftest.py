"""What several tests of the evaluation read: it takes a while, so it is made once."""

import pytest

from tests.compared_fixture import project, stage


@pytest.fixture(scope="session")
def compared(tmp_path_factory):
    """A folder in which `evaluate` and `compare` have run; copy it before changing anything."""
    root = project(tmp_path_factory.mktemp("compared"))
    for name in ("evaluate", "compare"):
        stage(name, root)
    return root
