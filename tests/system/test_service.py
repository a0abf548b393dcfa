"""The real server, real files, real answers."""

import io
from collections.abc import Iterator

import bentoml
import httpx
import numpy as np
import pytest
from PIL import Image

from pipeline.data import imaging
from tests.champion_fixture import SIDE, logit_of, write_champion
from tests.server_fixture import Server, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("service")
    write_champion(root)
    with serve(root) as running:
        yield running


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def radiograph() -> Image.Image:
    rows, columns = np.mgrid[0:240, 0:300]
    light = 120 + 90 * np.sin(columns / 40) * np.cos(rows / 60)
    return Image.fromarray(np.random.default_rng(0).normal(light, 6).clip(0, 255).astype(np.uint8))


def test_answers_what_the_network_says_of_the_pixels_that_imaging_reads(
    server: Server, radiograph: Image.Image
) -> None:
    data = encoded(radiograph, "JPEG")
    expected = 1 / (1 + np.exp(-logit_of(imaging.read_pixels(data, SIDE))))
    got = server.post(data)
    assert got.status_code == 200
    assert got.json()["probability"] == pytest.approx(expected, abs=1e-5)
    assert got.json()["model_version"] == "1"
    assert got.json()["prevalence"] == 0.5


def test_verdict_and_between_follow_the_operating_points(server: Server) -> None:
    answers = [server.post(encoded(Image.new("L", (90, 90), value), "PNG")).json() for value in (20, 127, 240)]
    assert [(each["verdict"], each["between"]) for each in answers] == [
        ("NORMAL", False),
        ("PNEUMONIA", True),
        ("PNEUMONIA", False),
    ]


@pytest.mark.parametrize(
    ("data", "status", "error"),
    [
        (b"", 415, "unsupported_type"),
        (b"just text, named .jpeg", 415, "unsupported_type"),
        (b"<html><body>a page</body></html>", 415, "unsupported_type"),
        (b"PK\x03\x04" + bytes(100), 415, "unsupported_type"),
        (b"\xff\xd8\xff" + bytes(100), 422, "undecodable"),
    ],
    ids=["empty", "text", "html", "zip", "broken"],
)
def test_a_bad_file_is_named_as_such(server: Server, data: bytes, status: int, error: str) -> None:
    got = server.post(data)
    assert (got.status_code, got.json()["error"]) == (status, error)
    assert got.json()["detail"]


def test_bentoml_client_works(server: Server, radiograph: Image.Image, tmp_path) -> None:
    path = tmp_path / "film.png"
    radiograph.save(path)
    with bentoml.SyncHTTPClient(server.url) as client:
        answer = client.predict(image=path)
    assert answer["verdict"] in ("NORMAL", "PNEUMONIA")


def test_contract_and_health(server: Server) -> None:
    assert server.get("/model").json()["version"] == "1"
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
def test_a_body_that_is_no_picture_form_is_refused(server: Server, request_: dict) -> None:
    got = httpx.post(server.url + "/predict", **request_)
    assert got.status_code in (400, 415)
    assert set(got.json()) == {"error", "detail"}
