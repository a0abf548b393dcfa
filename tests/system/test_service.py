"""The real server, real files, real answers."""

import base64
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bentoml
import httpx
import numpy as np
import pytest
from PIL import Image

from benchmarks.support.storage import kinds
from pipeline.data import imaging
from pipeline.outcomes import CAUTION, INDETERMINATE, NONE, SIGNS
from pipeline.serving import journal
from tests.champion_fixture import SIDE, logit_of, write_champion
from tests.image_fixture import chest_dicom, encoded, hostile, scene
from tests.image_storage import scene as storage_scene
from tests.server_fixture import CHECKOUT, Server, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("service")
    write_champion(root)
    with serve(root, SERVE_LOG="answers.sqlite") as running:
        yield running


def champion_of(server: Server) -> str:
    return (server.root / "models" / "CHAMPION").read_text().strip()


@pytest.fixture(scope="module")
def radiograph() -> Image.Image:
    return Image.fromarray(scene(240, 300))


def test_answers_what_the_network_says_of_the_pixels_that_imaging_reads(
    server: Server, radiograph: Image.Image
) -> None:
    data = encoded(radiograph, "JPEG")
    expected = 1 / (1 + np.exp(-logit_of(imaging.read_pixels(data, SIDE))))
    got = server.post(data)
    assert got.status_code == 200
    assert got.json()["score"] == pytest.approx(expected, abs=1e-5)
    assert got.json()["probability"] == got.json()["score"]  # for one release
    assert got.json()["model_version"] == champion_of(server)
    assert got.json()["prevalence"] == 0.5


def test_the_outcome_follows_the_two_thresholds(server: Server) -> None:
    answers = [server.post(encoded(Image.new("L", (90, 90), value), "PNG")).json() for value in (20, 127, 240)]
    assert [each["outcome"] for each in answers] == [NONE, INDETERMINATE, SIGNS]
    for each in answers:
        assert each["thresholds"] == {"lower": 0.4, "upper": 0.6}
        assert each["notice"].endswith(CAUTION)
        assert {"verdict", "between"} & set(each) == set()


def peak_megabytes(server: Server, reset: bool = False) -> float:
    """The worker's largest resident memory since the last reset."""
    (worker,) = server.workers()
    if reset:
        Path(f"/proc/{worker}/clear_refs").write_text("5")
    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def test_hostile_files_are_refused_and_cost_little(server: Server) -> None:
    server.post(encoded(scene()))  # what the first answer loads is no file's cost
    server.post(chest_dicom())
    for name, (data, status) in hostile().items():
        before = peak_megabytes(server, reset=True)
        got = server.post(data)
        assert (name, got.status_code) == (name, status)
        assert {"error", "detail"} <= set(got.json())
        # The body itself and its parse are in the number: a file may weigh up to 48 megabytes.
        assert peak_megabytes(server) - before < 100, name


def test_one_image_is_answered_and_shown_alike_in_every_kind_of_file(server: Server) -> None:
    grey = storage_scene(120, 160)
    for kind in kinds(grey):
        got, shown = server.post(kind.data), server.post(kind.data, "/picture")
        assert (kind.name, got.status_code, shown.status_code) == (kind.name, 200, 200)
        expected = 1 / (1 + np.exp(-logit_of(imaging.resize(kind.image, SIDE))))
        assert got.json()["probability"] == pytest.approx(expected, abs=0.02), kind.name
        with Image.open(io.BytesIO(shown.content)) as image:
            small = np.asarray(image.resize(grey.shape[::-1], Image.Resampling.BOX)).astype(int)
            assert image.width / image.height == grey.shape[1] / grey.shape[0], kind.name
        assert np.abs(small - kind.image).mean() < 4, kind.name


def test_what_was_noticed_of_an_image_travels_with_the_answer_and_the_map(server: Server) -> None:
    dim = encoded(storage_scene(120, 160, 90, 150), "PNG")
    for route in ("/predict", "/explain"):
        assert any("grey range" in each for each in server.post(dim, route).json()["warnings"])


def test_dicom_is_answered_with_a_warning(server: Server) -> None:
    told = server.post(chest_dicom()).json()
    assert told["outcome"] in (NONE, INDETERMINATE, SIGNS)
    assert "accuracy on DICOM files is unmeasured" in told["warnings"][0]


def test_explain_adds_the_map(server: Server, radiograph: Image.Image) -> None:
    data = encoded(radiograph, "PNG")
    plain, explained = server.post(data).json(), server.post(data, "/explain").json()
    assert explained["score"] == plain["score"]
    grid = np.array(explained["map"]["grid"])
    # The tiny network's map is the mean of each cell, less one half.
    cells = imaging.read_pixels(data, SIDE).reshape(8, 8, 8, 8).mean((1, 3)) / 255 - 0.5
    assert grid == pytest.approx(cells, abs=1e-3)
    drawn = Image.open(io.BytesIO(base64.b64decode(explained["map"]["overlay"])))
    assert drawn.size == (128, 128)
    low, high = drawn.convert("RGBA").getchannel("A").getextrema()
    assert low < high  # it can be seen through, more or less


def test_nothing_of_an_upload_is_kept(server: Server) -> None:
    before = set(Path(tempfile.gettempdir()).glob("bentoml-request-*"))
    server.post(chest_dicom(PatientID="Secret-42"), name="Secret-42.dcm", kind="application/Secret-42")
    server.post(b"Secret-42" * 100, name="../../Secret-42")
    assert "Secret" not in server.log.read_text()
    assert set(Path(tempfile.gettempdir()).glob("bentoml-request-*")) == before
    with journal.connect(server.root / "answers.sqlite") as log:
        lines = log.execute("SELECT picture, probability, version FROM answers").fetchall()
    assert lines
    assert all(
        len(image) == 64 and 0 <= probability <= 1 and version == champion_of(server)
        for image, probability, version in lines
    )


def test_metrics_count_answers_and_refusals(server: Server) -> None:
    server.post(encoded(scene()))
    server.post(b"no image")
    server.get("/an/address/that/a/client/made/up")
    text = server.get("/metrics").text
    assert 'pneumonia_requests_total{route="/predict",status="200"}' in text
    assert 'pneumonia_refusals_total{error="unsupported_type"}' in text
    assert f'pneumonia_outcomes_total{{outcome="{INDETERMINATE}"}}' in text
    assert "pneumonia_score_bucket" in text
    assert 'pneumonia_request_seconds_bucket{le="0.015",route="/predict"}' in text
    assert f'pneumonia_model_loaded_seconds{{version="{champion_of(server)}"}}' in text
    assert f'pneumonia_model_workers{{version="{champion_of(server)}"}} 1.0' in text
    assert "made/up" not in text


def test_openapi_document_tells_of_refusals(server: Server) -> None:
    document = server.get("/docs.json").json()
    assert {"/predict", "/explain", "/model", "/livez", "/readyz"} <= set(document["paths"])
    assert {"200", "413", "415", "422", "429", "503"} <= set(document["paths"]["/predict"]["post"]["responses"])
    upload = document["paths"]["/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert upload["properties"]["image"]["format"] == "binary"
    properties = document["components"]["schemas"]["Answer"]["properties"]
    assert properties["outcome"]["enum"] == [NONE, INDETERMINATE, SIGNS]
    assert {name for name, each in properties.items() if each.get("deprecated")} == {"probability", "prevalence"}
    assert document["servers"] == [{"url": "."}]  # beside the document, below whatever prefix


def test_no_telemetry_and_no_training_framework_is_loaded(server: Server) -> None:
    barred = ("openvino_telemetry", "tensorflow", "keras", "pandas", "torch", "jax", "sklearn")
    script = (
        "import sys, pipeline.serving.service\n"
        f"print([name for name, module in sys.modules.items() if module and name.split('.')[0] in {barred}])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PIPELINE_ROOT": str(server.root)},
        cwd=CHECKOUT,
    )
    assert told.stdout.strip() == "[]"


def test_bentoml_client_works(server: Server, radiograph: Image.Image, tmp_path) -> None:
    path = tmp_path / "radiograph.png"
    radiograph.save(path)
    with bentoml.SyncHTTPClient(server.url) as client:
        answer = client.predict(image=path)
    assert answer["outcome"] in (NONE, INDETERMINATE, SIGNS)


def test_contract_and_health(server: Server) -> None:
    assert server.get("/model").json()["version"] == champion_of(server)
    assert server.get("/model").json()["refused"] is None
    assert server.get("/model").json()["served"]["precision"] == "float32"
    assert server.get("/livez").status_code == 200
    assert server.get("/readyz").status_code == 200
    assert "/predict" in server.get("/docs.json").json()["paths"]


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"image": "http://127.0.0.1:1/"}},
        {"data": {"image": "http://127.0.0.1:1/"}},
        {"files": {"other": ("a", b"x")}},
        {"files": {"image": (None, "http://127.0.0.1:1/")}},
        {"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data"}},
    ],
    ids=["json", "form", "other field", "text field", "cut off", "no boundary"],
)
def test_a_body_that_is_no_image_form_is_refused(server: Server, request_: dict) -> None:
    got = httpx.post(server.url + "/predict", **request_)
    assert got.status_code in (400, 415)
    assert set(got.json()) == {"error", "detail"}


def test_bentoml_keeps_nothing_of_an_answered_request() -> None:
    """Its timeout would, until the time is up; the service leaves it out, wherever BentoML puts it."""
    script = (
        "import types, pipeline.serving.service\n"
        "from bentoml._internal.server.base_app import BaseAppFactory\n"
        "server = types.SimpleNamespace(timeout=60, max_concurrency=None)\n"
        "(timeout,) = BaseAppFactory.middlewares.fget(server)\n"
        "print(timeout.cls('the app', **timeout.kwargs))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert told.stdout.strip() == "the app"
