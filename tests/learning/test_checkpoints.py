"""A checkpoint lies under the digest of everything that made it: whatever differs, an old one is never resumed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import paths

RUN = "custom_cnn-raw-0"
SCRIPT = f"""
from pipeline import settings
from pipeline.stages import train
print(train.digest_of(settings.load().runs["{RUN}"], "random"))
"""


def add(file: str) -> Callable[[Path], None]:
    """Append something to a file of the project."""

    def change(root: Path) -> None:
        with (root / file).open("a", encoding="utf-8") as stream:
            stream.write("\n# Another one.\n")

    return change


def setting(root: Path) -> None:
    """Another number of epochs."""
    file = root / "params.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("epochs: 15", "epochs: 14"), encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code, the settings, and files in the place of arrays and row lists."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(paths.ROOT / "pipeline", root / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (paths.PARAMS, paths.ROOT / "dvc.yaml"):
        shutil.copyfile(file, root / file.name)
    for file in ("data/arrays/development.npy", "data/groups/raw.csv", "data/groups/validation.csv"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(file, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def before(project: Path) -> str:
    """The digest of the project as it is."""
    return digest(project)


def digest(root: Path, backend: str = "tensorflow") -> str:
    """The name of the checkpoint's folder, by the code in `root`."""
    environ = {name: value for name, value in os.environ.items() if name != "PIPELINE_ROOT"}
    environ |= {"KERAS_BACKEND": backend, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", SCRIPT]
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(setting, id="settings"),
        *(
            pytest.param(add(file), id=file)
            for file in (
                "data/arrays/development.npy",
                "data/groups/raw.csv",
                "data/groups/validation.csv",
                "pipeline/learning/networks/custom_cnn.py",
                "pipeline/learning/networks/head.py",
                "pipeline/learning/augmentation/none.py",
                "pipeline/learning/training.py",
            )
        ),
    ],
)
def test_what_can_change_a_weight_changes_the_digest(
    project: Path, before: str, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(project, other)
    change(other)
    assert digest(other) != before


def test_another_backend_changes_the_digest_and_neither_another_place_nor_a_file_that_changes_no_weight_does(
    project: Path, before: str, tmp_path: Path
) -> None:
    assert digest(project, "jax") != before
    other = tmp_path / "other"
    shutil.copytree(project, other)
    for file in (
        "pipeline/learning/networks/vgg16.py",
        "pipeline/learning/augmentation/robust.py",
        "pipeline/settings.py",
    ):
        add(file)(other)
    assert digest(other) == before
