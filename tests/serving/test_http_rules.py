"""Whose requests are answered, by the middleware itself; tests/system/test_http.py asks a server."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ProjectError
from pipeline.serving import http_rules
from pipeline.serving.request_limits import RequestLimits
from pipeline.serving.settings import load_serve
from tests.serving.test_request_limits import Inside, ask

SETTINGS = load_serve({}).model_copy(update={"hosts": ["cxr.example", "::1"], "origins": ["https://pacs.example"]})


def answered(settings=SETTINGS, **request) -> tuple[int, dict, dict]:
    return asyncio.run(ask(RequestLimits(Inside(), settings), **request))


@pytest.mark.parametrize(
    "host", ["cxr.example", "cxr.example:443", "CXR.example", "cxr.example.", "[::1]", "[::1]:3000"]
)
def test_the_names_that_are_listed_are_answered(host: str) -> None:
    assert answered(path="/model", method="GET", host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "127.0.0.1", "cxr.example.evil.example", "evilcxr.example", "cxr.example@evil.example",
     "evil.example:cxr.example", "cxr.example:80:80", "[::1", "::1]", "[::1].evil", "cxr.example/", " ", "\x80"],
)  # fmt: skip
def test_no_other_name_is(host: str) -> None:
    status, told, _ = answered(path="/model", method="GET", host=host)
    assert (status, told["error"]) == (421, "unknown_host")
    assert answered(path="/readyz", method="GET", host=host)[0] == 200  # probes ask by address
    assert answered(SETTINGS.model_copy(update={"hosts": None}), path="/model", method="GET", host=host)[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"sec_fetch_site": "same-origin", "origin": "https://cxr.example"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"sec_fetch_site": "same-origin", "origin": "https://elsewhere.example"}, 200),  # a proxy changed Host
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site", "origin": "https://other.example"}, 403),
        ({"sec_fetch_site": "cross-site", "origin": "https://cxr.example"}, 403),
        ({"origin": "http://cxr.example"}, 200),  # a browser says less on plain http
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"sec_fetch_site": "cross-site", "origin": "https://pacs.example"}, 200),
        ({"origin": "https://pacs.example.evil.example"}, 403),
    ],
)
def test_a_page_of_another_site_sends_nothing_unless_it_may(headers: dict[str, str], status: int) -> None:
    for path in ("/predict", "/explain", "/picture"):
        got, told, _ = answered(path=path, host="cxr.example", chunks=(b"x",), **headers)
        assert (got == 403) == (status == 403), told
    assert answered(path="/model", method="GET", host="cxr.example", **headers)[0] == 200


def test_a_body_of_two_lengths_is_refused_and_ends_the_connection() -> None:
    status, told, headers = answered(host="cxr.example", content_length="3", transfer_encoding="chunked")
    assert (status, told["error"], headers["connection"]) == (400, "malformed", "close")


@pytest.mark.parametrize(
    ("location", "path", "relative"),
    [
        ("http://evil.example/model", "/model/", "../model"),
        ("http://evil.example/static/", "/static", "static/"),
        ("http://evil.example/a/b?c=d", "/a/b/", "../b?c=d"),
        ("/", "/x", "./"),
        ("https://evil.example/model", "/deep/er/model/", "../../../model"),
    ],
)
def test_a_redirect_names_no_host(location: str, path: str, relative: str) -> None:
    from urllib.parse import urljoin, urlsplit

    address = http_rules._relative(location, path)
    assert address == relative
    joined = urlsplit(urljoin(f"http://us/prefix{path}", address))
    assert (joined.netloc, joined.path) == ("us", f"/prefix{urlsplit(location).path}")


@given(st.text(max_size=30))
def test_any_name_is_taken_or_refused_and_never_an_error(name: str) -> None:
    status, _, _ = answered(path="/model", method="GET", host=name.encode("utf-8").decode("latin-1"))
    assert status in (200, 421)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("SERVE_HOSTS", "[]", "SERVE_HOSTS: hosts: [] must have at least 1 item"),
        ("SERVE_HOSTS", "['http://a']", "must be a host's name"),
        ("SERVE_HOSTS", "['a:80']", "without a port"),
        ("SERVE_ORIGINS", "[pacs.example]", "must be scheme, host"),
        ("SERVE_ORIGINS", "['https://a/']", "must be scheme, host"),
        ("SERVE_PROXIES", "['*']", "must be an address or a network"),
        ("SERVE_PROXIES", "[10.0.0.1/8]", "must be an address or a network"),
    ],
)
def test_settings_that_mean_nothing_are_refused(variable: str, text: str, said: str) -> None:
    with pytest.raises(ProjectError) as refused:
        load_serve({variable: text})
    assert said in str(refused.value)
    assert load_serve({"SERVE_HOSTS": "['::1', a.b]", "SERVE_PROXIES": "[10.0.0.0/8, '::1']"}).proxies == [
        "10.0.0.0/8",
        "::1",
    ]
