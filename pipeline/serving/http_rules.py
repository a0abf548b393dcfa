"""Whose requests are answered: to which names, from pages of which sites; redirects name no host.

A page of another site can send a visitor's browser here (cross-site POST), or call itself by a name that points here (DNS
rebinding). Programs send no Origin and are not meant.
"""

import posixpath
import re

from starlette.datastructures import URL, Headers
from starlette.types import Message, Scope, Send

from pipeline.serving.problems import Problem
from pipeline.serving.settings import Serve

PROBES = ("/livez", "/readyz", "/healthz")  # asked by address
HOST = re.compile(r"(\[(?P<address>[^][]*)\]|(?P<name>[^][:]*))(:\d*)?")
CLOSE = {"Connection": "close"}


def check(scope: Scope, serve: Serve) -> None:
    """Refuse what no honest client sends here.

    Raises:
        Problem: 400 for a body of two lengths, after which nobody knows where the next request begins; 421 for another
            host's name; 403 for a page of another site.
    """
    headers = Headers(scope=scope)
    lengths = headers.getlist("content-length") + headers.getlist("transfer-encoding")
    if len(lengths) > 1:
        raise Problem(400, "malformed", "the body has two lengths (Content-Length, Transfer-Encoding)", headers=CLOSE)
    if serve.hosts is not None and scope["path"] not in PROBES and _name(headers) not in serve.hosts:
        raise Problem(421, "unknown_host", "the header Host names another host than those of the setting serve.hosts")
    if scope["method"] not in ("GET", "HEAD", "OPTIONS") and _cross_site(headers, serve.origins):
        raise Problem(403, "cross_site", "a page of another site asks; the setting serve.origins lists those that may")


def relative_redirects(scope: Scope, send: Send) -> Send:
    """A `send` whose redirects name no host, and hold below whatever prefix a proxy cuts off."""

    async def inner(message: Message) -> None:
        if message["type"] == "http.response.start" and 300 <= message["status"] < 400:
            raw = [
                (name, _relative(value.decode("latin-1"), scope["path"]).encode("latin-1"))
                if name.lower() == b"location"
                else (name, value)
                for name, value in message["headers"]
            ]
            message = {**message, "headers": raw}
        await send(message)

    return inner


def _name(headers: Headers) -> str:
    """The name in Host, without its port."""
    match = HOST.fullmatch(headers.get("host", ""))
    return (match["address"] or match["name"] or "").lower().removesuffix(".") if match else ""


def _cross_site(headers: Headers, allowed: list[str]) -> bool:
    """Whether a browser says that a page of another site sends this: Fetch Metadata, else the header Origin."""
    origin = headers.get("origin")
    if origin in allowed:
        return False
    if "sec-fetch-site" in headers:
        return headers["sec-fetch-site"] not in ("same-origin", "none")
    return origin is not None and origin.lower().partition("://")[2] != headers.get("host", "").lower()


def _relative(location: str, path: str) -> str:
    target = URL(location)
    folder, _, name = target.path.rpartition("/")
    start = path if path.endswith("/") else posixpath.dirname(path)
    relative = posixpath.join(posixpath.relpath(folder or "/", start or "/"), name)
    return f"{relative}?{target.query}" if target.query else relative
