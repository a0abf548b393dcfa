"""What the service replaces or reaches into inside BentoML and uvicorn, named: each has no place in their settings.

A new release that has moved one of them fails here, by its name, and not in a running service.
"""

import inspect
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import uvicorn
from bentoml._internal.context import server_context
from bentoml._internal.server.http import traffic
from bentoml._internal.utils import circus

from tests.champion_fixture import write_champion

ROOT = Path(__file__).resolve().parents[2]


def test_it_is_a_release_whose_insides_are_known() -> None:
    assert metadata.version("bentoml").startswith("1.4.")


def test_what_is_replaced_has_the_shape_that_it_is_replaced_in() -> None:
    assert list(inspect.signature(traffic.TimeoutMiddleware).parameters)[:2] == ["app", "timeout"]
    base = circus.Arbiter.__base__
    assert {"watchers", "endpoint", "pubsub_endpoint"} <= inspect.signature(base.__init__).parameters.keys()
    assert "self.exit_stack = " in inspect.getsource(circus.Arbiter)
    assert hasattr(server_context, "worker_index")
    assert "timeout_graceful_shutdown" in inspect.signature(uvicorn.Config.__init__).parameters


@pytest.fixture(scope="module")
def replaced(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a process finds after it has read the service."""
    root = tmp_path_factory.mktemp("replaced")
    write_champion(root)
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    code = (
        "import pipeline.serving.service\n"
        "from bentoml._internal.server.http import traffic\n"
        "from bentoml._internal.utils import circus\n"
        "app = object()\n"
        "print(traffic.TimeoutMiddleware(app, timeout=1) is app, circus.Arbiter.__name__)\n"
    )
    environment = {**os.environ, "PIPELINE_ROOT": str(root), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_timeout_and_the_supervisors_ports_are_replaced(replaced: str) -> None:
    assert replaced == "True Private"
