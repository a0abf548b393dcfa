"""docs/own-data.md on generated images: its commands as they stand there, from a flat folder to an answer of the service."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pipeline import paths, workspaces
from pipeline.data import phantom
from pipeline.data.tables import read_table
from pipeline.settings import Phantom
from tests.server_fixture import serve

HOME = Path(__file__).resolve().parents[2]
PATIENTS = 2  # images of each
TRIAL = """\
evaluate: {resamples: 200}
explain: {cascade: {images: 20, steps: 3, draws: 1}, shuffles: 2}
gate: {validation: {min_sensitivity: 0.0, min_specificity: 0.0}, stress: {min_sensitivity: 0.0, min_specificity: 0.0}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's home: a checkout of the project, and a flat folder of generated radiographs under names of one's own."""
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setattr(paths, "WORKSPACES", home)
    checkout = workspaces.create("checkout", copy=True)
    patch.undo()
    (checkout / ".venv").symlink_to(sys.prefix)
    for arguments in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *arguments], cwd=checkout, check=True)
    phantom.generate(Phantom(seed=11, train=400, val=2, test=2), home / "generated")
    for label in ("NORMAL", "PNEUMONIA"):
        (home / "my-images" / label).mkdir(parents=True)
        for number, path in enumerate(sorted((home / "generated" / "train" / label).iterdir())):
            patient = f"{label[0]}{number // PATIENTS}"
            shutil.copy(path, home / "my-images" / label / f"patient{patient}_{number % PATIENTS}.jpeg")
    return home


def commands() -> list[str]:
    """The blocks of the page that are meant to be typed."""
    return re.findall(r"```sh\n(.*?)```", (HOME / "docs" / "own-data.md").read_text(), re.DOTALL)


def typed(home: Path, block: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Type a block into a shell in the folder."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("CXR_DATA", "PIPELINE_ROOT", "CXR_WEIGHTS")
    }
    environment |= {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-e", "-c", block], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_from_a_flat_folder_to_a_network_that_answers(home: Path) -> None:
    training, using = commands()
    # The commands are the page's; the settings are of a small trial, and so is what its gate asks.
    small = training.replace("<<'END'\n", f"<<'END'\n{TRIAL}").replace("epochs: 15", "epochs: 5")
    assert small.count("epochs: 5") == 1 and TRIAL in small
    done = typed(home, small, home / "checkout")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "holds a flat folder of one's own images, 20 % of its patients held out as test" in done.stderr
    place = home / "checkout" / ".work" / "my-images"
    assert json.loads((place / "data" / "dataset.json").read_text())["dataset"] == "own-images"
    assert not (home / "checkout" / "data" / "raw").exists(), "the checkout's own data stay as they were"

    development, test = (read_table(place / "data" / "arrays" / f"{part}.csv") for part in ("development", "test"))
    assert not {row["patient"] for row in development} & {row["patient"] for row in test}
    assert all(row["patient"].startswith("patient") for row in [*development, *test])
    (row,) = [row for row in read_table(place / "metrics" / "table2.csv") if row["run"] == "custom_cnn-robust-0"]
    assert row["dataset"] == "own-images" and row["published_accuracy"] == ""
    page = (place / "reports" / "index.html").read_text()
    assert (
        "Everything on this page was measured on images of one's own." in page and "generated radiographs" not in page
    )
    assert "Images of one's own" in (place / "docs" / "data-card.md").read_text()

    promote, predict, service = using.strip().splitlines()
    done = typed(home, f"{promote}\n{predict}", place)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    answers = read_table(place / "answers.csv")
    assert len(answers) == len(list((home / "my-images" / "PNEUMONIA").iterdir()))
    given = Counter(row["outcome"] for row in answers if row["status"] == "answered")
    assert given.total() > 0.9 * len(answers), "the input check knows what it was fitted on"
    assert given["signs of pneumonia"] > 5 * given["no pneumonia detected"], "of images that all show it"

    assert service == "bentoml serve"  # as the fixture starts it, on a port of its own
    with serve(place) as server:
        image = next((home / "my-images" / "PNEUMONIA").glob("*_0.jpeg"))
        said = server.post(image.read_bytes()).json()
    told = next(row for row in answers if row["file"] == image.name)
    assert said["outcome"] == told["outcome"] and said["score"] == pytest.approx(float(told["score"]), abs=1e-4)
