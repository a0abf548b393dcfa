"""`bentoml build` and `bentoml containerize`, as `scripts/bento.sh` calls them; then the container is asked from outside."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.containers_fixture import (
    BASE,
    NETWORK,
    checkout,
    container,
    docker,
    environment,
    logs,
    need_an_engine,
    pinned_base,
    wait,
)
from tests.image_fixture import encoded, scene

pytestmark = pytest.mark.containers


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bentos")


@pytest.fixture(scope="module")
def image(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the image, by the version of the champion."""
    need_an_engine()
    root = checkout(tmp_path_factory.mktemp("checkout") / "project")
    if BASE:
        settings = root / "pyproject.toml"
        settings.write_text(settings.read_text().replace(pinned_base(), BASE))
    options = ["--opt", f"network={NETWORK}"] if NETWORK else []
    environ = {**environment(), "BENTOML_HOME": str(home), "BENTO_BIN": str(Path(sys.executable).parent)}
    done = subprocess.run(
        [root / "scripts" / "bento.sh", *options], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    name = "pneumonia-radiographs:" + (root / "models" / "CHAMPION").read_text().strip()
    yield name
    docker("rmi", name)


def test_the_bento_is_named_after_the_champion_and_says_what_it_is(home: Path, image: str) -> None:
    (written,) = (home / "bentos").glob("*/*/bento.yaml")
    bento = yaml.safe_load(written.read_text())
    assert f"{bento['name']}:{bento['version']}" == image
    assert bento["labels"]["champion"] == bento["version"]
    assert bento["labels"]["notice"] == "Research software, not a medical device"
    assert len(bento["labels"]["commit"]) == 40
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", image))
    assert labels["org.opencontainers.image.title"] == image
    assert labels["org.opencontainers.image.revision"] == bento["labels"]["commit"]


@pytest.mark.parametrize(
    "options",
    [[], ["--read-only", "--tmpfs", "/tmp", "--user", "4711", "--env", "HOME=/nowhere"]],
    ids=["plain", "no home"],
)
def test_its_container_answers_from_outside(image: str, options: list[str]) -> None:
    published = ["--publish", "127.0.0.1::3000", "--env", "SERVE_OUT_OF_DISTRIBUTION=warn"]
    with container(image, *published, *options) as name:
        address = "http://" + docker("port", name, "3000").split()[0]
        files = {"image": ("picture", encoded(scene()), "image/jpeg")}

        def answer() -> httpx.Response | None:
            assert docker("inspect", "--format", "{{.State.Running}}", name).strip() == "true", logs(name)
            try:
                response = httpx.post(f"{address}/predict", files=files, timeout=60)
            except httpx.TransportError:
                return None
            return None if response.status_code == 503 else response

        answered = wait(answer, "the bento's container", 90)
        assert answered.status_code == 200, answered.text
        assert answered.json()["model_version"] == image.partition(":")[2]
