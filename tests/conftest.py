"""How the tests are dealt out when several processes run them, and what several of them read."""

from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.compared_fixture import project, stage


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `evaluate` and `compare` have run; copy it before changing anything."""
    root = project(tmp_path_factory.mktemp("compared"))
    for name in ("evaluate", "compare"):
        stage(name, root)
    return root


class Together(LoadFileScheduling):
    """The tests of a file stay in one process, and so do all that use the toy study: it takes minutes, and is run once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "tests/toy_study" if file.startswith("tests/toy_study/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Together:
    """What deals them out."""
    return Together(config, log)
