"""What every request passes before any parser: token, how many at once, and the body's size while it streams."""

import asyncio
import hmac
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.serving import http_rules, metrics
from pipeline.serving.multipart import ImageForm
from pipeline.serving.problems import Problem
from pipeline.serving.settings import Serve

UPLOADS = ("/predict", "/explain", "/picture")
OPEN = ("/livez", "/readyz", "/healthz", "/", "/docs", "/docs.json")  # without a token
ROUTES = {*UPLOADS, *OPEN, "/model", "/metrics", "/schema.json"}  # a label for each; clients may ask for anything
DRAIN_SECONDS = 5.0
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="pneumonia"'}
PIECE = 2**16  # bytes of an answer that the server is given at once
PLAIN = {
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address takes another method"),
    503: ("not_ready", "no champion is loaded yet, or uploads wait too long for their turn"),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class SlowReader(Exception):
    """A client does not take its answer in time."""


class RequestLimits:
    """ASGI middleware. The image of an upload arrives inside as `request.state.image`; the body is read here alone."""

    def __init__(self, app: ASGIApp, limits: Serve, token: str | None = None) -> None:
        self.app = app
        self.limits = limits
        self.token = token
        self.inside: Counter[str] = Counter()  # requests of each address
        self.held = 0  # bytes of bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        paced = _paced(send, self.limits.patience_seconds)
        send = http_rules.relative_redirects(scope, _told(_measured(scope, paced)))
        try:
            http_rules.check(scope, self.limits)
            self._check_token(scope)
            if scope["method"] == "POST" and scope["path"] in UPLOADS:
                with self._admit(scope):
                    await self._pass_upload(scope, receive, send)
            else:
                await self.app(scope, receive, send)
        except Problem as problem:
            await problem.response()(scope, receive, send)
        except SlowReader:
            pass  # the server closes what has no end

    def _check_token(self, scope: Scope) -> None:
        if not self.token or scope["path"] in OPEN or scope["path"].startswith(("/static/", "/static_content/")):
            return
        given = Headers(scope=scope).get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            raise Problem(401, "unauthorised", "send the header 'Authorization: Bearer <token>'", headers=CHALLENGE)

    @contextmanager
    def _admit(self, scope: Scope) -> Iterator[None]:
        address = (scope.get("client") or ("unknown",))[0]
        if self.inside[address] >= self.limits.max_per_client:
            raise Problem(
                429, "too_many_requests", f"{self.limits.max_per_client} requests of this address are being answered"
            )
        if self.inside.total() >= self.limits.max_waiting:
            raise Problem(503, "overloaded", f"{self.limits.max_waiting} requests are being answered")
        self.inside[address] += 1
        try:
            yield
        finally:
            self.inside[address] -= 1
            if not self.inside[address]:
                del self.inside[address]

    async def _pass_upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        form = ImageForm(Headers(scope=scope).get("content-type", ""))
        size = 0
        try:
            async with asyncio.timeout(self.limits.patience_seconds):
                async for chunk in self._body(scope, receive):
                    size += len(chunk)
                    self.held += len(chunk)
                    if self.held > self.limits.max_held_megabytes * 2**20:
                        raise Problem(503, "overloaded", "too many uploads are being read")
                    form.feed(chunk)
            scope.setdefault("state", {})["image"] = form.image()
            form.drop()
            await self.app(scope, _nothing_more(receive), send)
        except TimeoutError:
            raise Problem(
                408, "too_slow", f"the body took longer than {self.limits.patience_seconds:g} seconds"
            ) from None
        finally:
            form.drop()
            scope.get("state", {}).pop("image", None)  # the server keeps the scope for longer
            self.held -= size

    async def _body(self, scope: Scope, receive: Receive) -> AsyncIterator[bytes]:
        limit = int(self.limits.max_megabytes * 2**20)
        declared = Headers(scope=scope).get("content-length", "0")
        size = int(declared) if declared.isdigit() else 0
        if size > limit:
            await _drain(receive)
            raise _too_large(size, limit)
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "malformed", "the client went away before the body ended")
            size += len(message.get("body", b""))
            if size > limit:
                await _drain(receive)
                raise _too_large(size, limit)
            yield message.get("body", b"")
            if not message.get("more_body"):
                return


def _too_large(size: int, limit: int) -> Problem:
    return Problem(
        413, "too_large", f"the body has {size} bytes or more; at most {limit} are read", bytes=size, limit=limit
    )


async def _drain(receive: Receive) -> None:
    """Read on without keeping anything: a client that is still sending does not see an answer."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                pass
    except TimeoutError:
        pass


def _nothing_more(receive: Receive) -> Receive:
    """A `receive` for the app inside: an empty body, then what the server says."""
    given = False

    async def inner() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return inner


def _paced(send: Send, seconds: float) -> Send:
    """A `send` that hands the server no more than a piece at a time, and gives up a client that does not take them.

    The server would buffer the whole of an answer for a client that reads nothing, for ever.
    """
    deadline: float | None = None

    async def inner(message: Message) -> None:
        nonlocal deadline
        deadline = deadline or asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                for piece in _pieces(message):
                    await send(piece)
        except TimeoutError:
            raise SlowReader from None

    return inner


def _pieces(message: Message) -> Iterator[Message]:
    body = message.get("body", b"")
    for start in range(0, max(len(body), 1), PIECE):
        last = start + PIECE >= len(body)
        more = {} if last else {"more_body": True}
        yield {**message, **more, "body": body[start : start + PIECE]} if body else message


def _measured(scope: Scope, send: Send) -> Send:
    """A `send` that counts the answer and its time, and adds the headers that keep a browser from other hosts."""
    started = time.perf_counter()
    path = scope["path"]
    route = path if path in ROUTES else "static" if path.startswith(("/static/", "/static_content/")) else "other"

    async def inner(message: Message) -> None:
        if message["type"] == "http.response.start":
            metrics.REQUESTS.labels(route, message["status"]).inc()
            message = {**message, "headers": [*message["headers"], *HEADERS]}
        await send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            metrics.SECONDS.labels(route).observe(time.perf_counter() - started)

    return inner


def _told(send: Send) -> Send:
    """A `send` that turns plain-text errors of the libraries (404, 405, 500) into `error` and `detail`."""
    replaced = False

    async def inner(message: Message) -> None:
        nonlocal replaced
        if message["type"] == "http.response.start" and message["status"] >= 400:
            headers = Headers(raw=message["headers"])
            if not headers.get("content-type", "").startswith("application/json"):
                replaced = True
                error, detail = PLAIN.get(message["status"], ("failed", "the request failed"))
                body = json.dumps({"error": error, "detail": detail}).encode()
                kept = [
                    pair for pair in message["headers"] if pair[0].lower() not in (b"content-type", b"content-length")
                ]
                kept += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
                await send({**message, "headers": kept})
                await send({"type": "http.response.body", "body": body})
                return
        if not replaced:
            await send(message)

    return inner
