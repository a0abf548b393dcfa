"""A real server, asked over raw sockets: two lengths, names, redirects, proxies, and what else listens."""

import socket
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.champion_fixture import write_champion
from tests.image_fixture import encoded, scene
from tests.server_fixture import Server, serve

SCENE = encoded(scene())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("http")
    write_champion(root)
    settings = {"SERVE_PROXIES": "[127.0.0.2]", "SERVE_ORIGINS": "[https://pacs.example]", "SERVE_MAX_PER_CLIENT": "1"}
    with serve(root, SERVE_TOKEN="a", **settings) as running:
        yield running


def raw(server: Server, request: bytes) -> tuple[list[bytes], bool]:
    """The answers' first lines, and whether the server then closed the connection."""
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port), timeout=2) as connection:
        connection.sendall(request)
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except TimeoutError:
            return [line for line in received.split(b"\r\n") if line.startswith(b"HTTP/")], False
    return [line for line in received.split(b"\r\n") if line.startswith(b"HTTP/")], True


def test_the_connection_stays_where_a_body_has_one_length(server: Server) -> None:
    answers, closed = raw(server, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert len(answers) == 1 and b" 200 " in answers[0] and not closed


@pytest.mark.parametrize(
    "lengths",
    [b"Content-Length: 3\r\nContent-Length: 4", b"Content-Length: 3\r\nTransfer-Encoding: chunked",
     b"Transfer-Encoding: chunked\r\nContent-Length: 3", b"Content-Length: 3, 4", b"Content-Length: +3",
     b"Transfer-Encoding: chunked, identity", b"Content-Length : 3"],
)  # fmt: skip
@pytest.mark.parametrize("route", [b"/predict", b"/model", b"/livez"])
def test_after_a_body_of_two_lengths_the_connection_closes(lengths: bytes, route: bytes, server: Server) -> None:
    smuggled = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"POST " + route + b" HTTP/1.1\r\nHost: localhost\r\n" + lengths + b"\r\n\r\n"
    answers, closed = raw(server, head + b"0\r\n\r\n" + smuggled)
    assert closed
    assert len(answers) == 1 and answers[0].split()[1] in (b"400", b"501"), answers


def test_another_host_is_refused_and_a_redirect_names_none(server: Server) -> None:
    token = {"Authorization": "Bearer a"}
    assert server.get("/model", headers=token | {"Host": "evil.example"}).status_code == 421
    assert server.get("/readyz", headers={"Host": "evil.example"}).status_code == 200
    redirected = server.get("/model/", headers=token)
    assert (redirected.status_code, redirected.headers["location"]) == (307, "../model")
    assert redirected.headers["x-content-type-options"] == "nosniff"


def test_a_wrong_token_is_told_how_to_ask(server: Server) -> None:
    got = server.get("/model")
    assert (got.status_code, got.headers["www-authenticate"]) == (401, 'Bearer realm="pneumonia"')


def test_a_site_that_may_can_send_and_read_from_a_browser(server: Server) -> None:
    token = {"Authorization": "Bearer a"}
    asked = {"Origin": "https://pacs.example", "Sec-Fetch-Site": "cross-site"}
    got = server.post(SCENE, headers=token | asked)
    assert (got.status_code, got.headers["access-control-allow-origin"]) == (200, "https://pacs.example")
    before = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = httpx.options(server.url + "/predict", headers=asked | before)
    assert allowed.status_code == 200 and "authorization" in allowed.headers["access-control-allow-headers"].lower()
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    refused = server.post(SCENE, headers=token | evil)
    assert refused.status_code == 403 and "access-control-allow-origin" not in refused.headers


def upload(server: Server, source: str, forwarded: str) -> socket.socket:
    """An upload that does not end, from an address of this machine, of a client that a proxy names."""
    port = httpx.URL(server.url).port
    connection = socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0))
    connection.sendall(
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\nContent-Length: 100\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\nX-Forwarded-For: " + forwarded.encode() + b"\r\n\r\n--x"
    )
    return connection


def refused_at_once(connection: socket.socket) -> bool:
    connection.settimeout(1)
    try:
        return connection.recv(100).startswith(b"HTTP/1.1 429")
    except TimeoutError:
        return False


@pytest.mark.parametrize(
    ("source", "clients", "second_refused"),
    [
        ("127.0.0.2", ("10.0.0.1", "10.0.0.2"), False),  # the proxy, which tells two clients apart
        ("127.0.0.2", ("10.0.0.3", "10.0.0.3"), True),
        ("127.0.0.2", ("10.0.0.4", "10.0.0.5, 10.0.0.4"), True),  # what the client itself wrote in front does not count
        ("127.0.0.3", ("10.0.0.6", "10.0.0.7"), True),  # anybody else: one address, whatever it says
    ],
)
def test_a_client_is_who_a_named_proxy_says(
    source: str, clients: tuple[str, str], second_refused: bool, server: Server
) -> None:
    with upload(server, source, clients[0]) as first:
        assert not refused_at_once(first)
        with upload(server, source, clients[1]) as second:
            assert refused_at_once(second) is second_refused


def test_nothing_but_the_service_listens(server: Server) -> None:
    tree = [server.process, *psutil.Process(server.process.pid).children(recursive=True)]
    ports = {
        connection.laddr.port
        for each in tree
        for connection in psutil.Process(each.pid).net_connections("inet")
        if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
    }
    assert ports == {httpx.URL(server.url).port}
