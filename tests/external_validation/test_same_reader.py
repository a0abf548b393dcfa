"""One image in every kind of file through /predict, /picture, `predict` and `evaluate-site`: one reading, one reason."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.support.storage import Stored, kinds
from pipeline.data.imaging import square
from pipeline.data.tables import read_table
from tests.champion_fixture import SIDE, logit_of, plain_guard, write_champion
from tests.image_storage import dicom, encoded, scene, tiff
from tests.server_fixture import Server, serve

CHECKOUT = Path(__file__).resolve().parents[2]
IMAGE = scene(150, 200)
KINDS = list(kinds(IMAGE))
REFUSED = {  # what is refused, and a word of the true reason
    "colour.dcm": (dicom(IMAGE, PhotometricInterpretation="RGB", SamplesPerPixel=3), "PhotometricInterpretation"),
    "unsaid.dcm": (dicom(IMAGE, remove=("PhotometricInterpretation",)), "PhotometricInterpretation"),
    "ct.dcm": (dicom(IMAGE, Modality="CT"), "Modality"),
    "frames.dcm": (dicom(IMAGE, NumberOfFrames=2), "2 frames"),
    "cut.dcm": (dicom(IMAGE)[:9000], "bytes of pixel data"),
    "second.jpeg": (encoded(IMAGE) + b"PK\x03\x04" + bytes(60), "something else"),
    "double.tiff": (tiff(IMAGE / 255), "64 bits"),
    "picture.webp": (encoded(IMAGE, "WEBP"), "WEBP"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reader")
    shutil.copy(CHECKOUT / "params.yaml", root)
    write_champion(root, guard=plain_guard())
    (root / "images").mkdir()
    rows = ["file,label,patient"]
    files = {str(number): kind.data for number, kind in enumerate(KINDS)}
    for name, data in {**files, **{name: data for name, (data, _) in REFUSED.items()}}.items():
        (root / "images" / name).write_bytes(data)
        rows.append(f"{name},{'NORMAL' if len(rows) % 2 else 'PNEUMONIA'},{name}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    with serve(root) as running:
        yield running


@pytest.fixture(scope="module")
def tables(root: Path) -> list[dict[str, dict[str, str]]]:
    """The tables of `predict` and `evaluate-site`, rows by file."""
    environment = {**os.environ, "PIPELINE_ROOT": str(root), "PYTHONPATH": str(CHECKOUT)}
    for words in (["predict", "--out", "out.csv", "images"], ["evaluate", "images", "labels.csv"]):
        command = [sys.executable, "-m", f"pipeline.external_validation.{words[0]}", *words[1:]]
        done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    written = (root / "out.csv", root / "reports" / "site" / "images.csv")
    return [{row["file"]: row for row in read_table(path)} for path in written]


@pytest.mark.parametrize(("number", "kind"), list(enumerate(KINDS)), ids=[kind.name for kind in KINDS])
def test_every_route_reads_the_image_that_was_stored(
    number: int, kind: Stored, server: Server, tables: list[dict[str, dict[str, str]]]
) -> None:
    said = server.post(kind.data).json()
    expected = 1 / (1 + np.exp(-logit_of(square(Image.fromarray(kind.image), SIDE))))
    assert said["score"] == pytest.approx(expected, abs=0.005)
    for table in tables:
        row = table[str(number)]
        assert float(row["score"]) == pytest.approx(said["score"], abs=1e-5)
        assert row["reason"] == "; ".join(said["warnings"])
    shown = Image.open(io.BytesIO(server.post(kind.data, "/picture").content))
    assert shown.size == IMAGE.shape[::-1]
    assert np.abs(np.asarray(shown).astype(int) - kind.image).mean() < 1


@pytest.mark.parametrize("name", REFUSED)
def test_every_route_refuses_for_the_same_reason(
    name: str, server: Server, tables: list[dict[str, dict[str, str]]]
) -> None:
    data, word = REFUSED[name]
    answers = [server.post(data, route) for route in ("/predict", "/picture")]
    assert answers[0].status_code == answers[1].status_code in (413, 415, 422)
    reasons = {answer.json()["detail"] for answer in answers} | {table[name]["reason"] for table in tables}
    assert len(reasons) == 1, reasons
    assert word in reasons.pop()
    assert {table[name]["status"] for table in tables} == {"unreadable"}
