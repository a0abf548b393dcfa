"""The bundle: built without a network, with the serving code and the champion alone, and it answers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.champion_fixture import write_champion
from tests.image_fixture import encoded, scene
from tests.server_fixture import CHECKOUT, serve

ALONE = shutil.which("unshare")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bentoml build` in a copy of what git keeps, with a tiny champion, cut off from the network."""
    checkout = tmp_path_factory.mktemp("checkout")
    home = tmp_path_factory.mktemp("home")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (
            name.startswith(
                (
                    "pipeline/",
                    "requirements/",
                    "params.yaml",
                    "pyproject.toml",
                    "docs/serving.md",
                    "data/README",
                    "metrics/explain/summary.json",
                )
            )
            and (CHECKOUT / name).is_file()
        ):
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, checkout / name)
    write_champion(checkout)
    probe = subprocess.run(["unshare", "-rn", "true"], check=False, capture_output=True) if ALONE else None
    offline = ["unshare", "-rn"] if probe and probe.returncode == 0 else []
    index = {"PIP_INDEX_URL": "http://index.invalid/simple", "UV_INDEX_URL": "http://index.invalid/simple"}
    told = subprocess.run(
        [*offline, sys.executable, "-m", "bentoml", "build", "--output", "tag"],
        cwd=checkout,
        env={**os.environ, **index, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr + told.stdout
    (built,) = (path.parent for path in (home / "bentos").glob("*/*/bento.yaml"))
    return built


def test_it_holds_the_serving_code_and_the_champion_alone(bundle: Path) -> None:
    held = {path.relative_to(bundle / "src").as_posix() for path in (bundle / "src").rglob("*") if path.is_file()}
    assert {"pipeline/serving/service.py", "pipeline/serving/static/main.js", "pipeline/data/imaging.py"} <= held
    version = (bundle / "src" / "models" / "CHAMPION").read_text().strip()
    assert {f"models/champions/{version}/{name}" for name in ("model.onnx", "guard.npz", "contract.json")} <= held
    packages = {name.split("/")[1] for name in held if name.startswith("pipeline/") and name.count("/") > 1}
    assert packages == {"serving", "data", "decoding", "input_check", "registry"}
    assert not [name for name in held if name.startswith(("data/", "tests/", "requirements/", ".dvc"))]


def test_it_names_no_index(bundle: Path) -> None:
    for path in bundle.rglob("*"):
        if path.is_file() and path.suffix in (".txt", ".yaml", ".sh", ".md", ".toml", ""):
            assert "index.invalid" not in path.read_text(errors="ignore"), path
            assert "--index-url" not in path.read_text(errors="ignore") or path.suffix == ".sh", path


def test_it_answers(bundle: Path, tmp_path: Path) -> None:
    with serve(tmp_path, target=str(bundle), PIPELINE_ROOT="") as server:
        assert server.post(encoded(scene())).json()["model_version"].startswith("tiny-")
