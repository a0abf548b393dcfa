"""How the tests are dealt out when several processes run them, as `make test` does."""

import pytest
from xdist.scheduler import LoadFileScheduling


class Together(LoadFileScheduling):
    """The tests of a file stay in one process, and so do all that use the toy study: it takes minutes, and is run once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "tests/toy_study" if file.startswith("tests/toy_study/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Together:
    """What deals them out."""
    return Together(config, log)
