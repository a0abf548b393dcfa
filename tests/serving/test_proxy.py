"""The proxy's configuration of the documents, run by a real nginx before a real service."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.champion_fixture import write_champion
from tests.image_fixture import chest_dicom, encoded, scene
from tests.server_fixture import CHECKOUT, Server, free_port, serve
from tests.sockets_fixture import connected, upload

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(
    not NGINX, reason="NOT TESTED: docker/nginx.conf; there is no nginx here (apt-get install nginx-light)"
)
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("behind")
    write_champion(root)
    with serve(root, SERVE_PATIENCE_SECONDS="5") as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The proxy in front of the server: other ports, its files in a folder of the test, shorter times."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    text = (CHECKOUT / "docker" / "nginx.conf").read_text()
    for old, new in (
        ("127.0.0.1:8080", f"127.0.0.1:{port}"),
        ("http://127.0.0.1:3000", server.url),
        ("client_header_timeout 10s", "client_header_timeout 2s"),
        ("http {\n", "http {\n" + "".join(f"{name}_temp_path {folder}/{name};\n" for name in TEMPORARY)),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    told = f"daemon off; pid {folder}/pid; error_log {folder}/error.log;"
    command = [str(NGINX), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    subprocess.run([*command, "-t", "-g", f"pid {folder}/pid;"], check=True, capture_output=True)
    process = subprocess.Popen([*command, "-g", told])
    front = replace(server, url=f"http://127.0.0.1:{port}", root=folder)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if front.get("/readyz").status_code == 200:
                    break
            time.sleep(0.05)
        yield front
    finally:
        process.terminate()
        process.wait(10)


def test_answers_pass_and_refusals_keep_their_words(server: Server, proxy: Server) -> None:
    data = encoded(scene())
    assert proxy.post(data).json()["score"] == server.post(data).json()["score"]
    got = proxy.post(bytes(50 * 2**20))
    assert (got.status_code, got.json()["error"]) == (413, "too_large")
    assert proxy.post(bytes(70 * 2**20)).status_code == 413


def test_nothing_of_an_upload_is_written_to_disk(proxy: Server) -> None:
    folders = [proxy.root / name for name in TEMPORARY]
    before = [folder.stat().st_mtime_ns for folder in folders]
    assert proxy.post(chest_dicom(scene(1500, 1500)), "/picture").status_code == 200
    assert [folder.stat().st_mtime_ns for folder in folders] == before
    assert not [file for folder in folders for file in folder.rglob("*") if file.is_file()]


def test_headers_are_limited(proxy: Server) -> None:
    assert proxy.get("/livez", headers={"X-Long": "a" * 20_000}).status_code == 400
    assert proxy.get("/livez", headers={f"X-{number}": "a" * 1000 for number in range(60)}).status_code == 400
    began = time.monotonic()
    with connected(proxy, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ") as slow:
        slow.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            slow.recv(100)  # an answer, or the end
    assert time.monotonic() - began < 6


def test_connections_of_one_client_are_limited(proxy: Server) -> None:
    with contextlib.ExitStack() as clients:
        for _ in range(32):
            clients.enter_context(connected(proxy, upload(b"half", length=100_000)))
        deadline = time.monotonic() + 5
        while (status := proxy.post(encoded(scene())).status_code) != 429:
            assert time.monotonic() < deadline, status
    deadline = time.monotonic() + 10
    while (status := proxy.post(encoded(scene())).status_code) != 200:
        assert time.monotonic() < deadline, status


def test_idle_connections_end_at_the_proxy(proxy: Server) -> None:
    with contextlib.ExitStack() as clients:
        idle = [clients.enter_context(connected(proxy)) for _ in range(500)]
        assert proxy.post(encoded(scene())).status_code == 200
        idle[0].settimeout(10)
        assert idle[0].recv(1) == b""
    assert Path(proxy.root / "error.log").exists()
