"""RequestLimits by itself: bodies of every shape, token, how many at once."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from pipeline.serving.request_limits import RequestLimits
from pipeline.serving.settings import load_serve

SMALL = {
    "max_megabytes": 0.01,
    "max_per_client": 2,
    "max_waiting": 3,
    "max_held_megabytes": 0.02,
    "patience_seconds": 0.5,
}
LIMITS = load_serve({}).model_copy(update=SMALL)
LIMIT = int(LIMITS.max_megabytes * 2**20)
BOUNDARY = "boundary"


def body_of(image: bytes, field: str = "image") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="../../a b.jpeg"\r\n\r\n'
    return head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


class Inside:
    """The app behind the middleware: remembers what it was given; waits while `hold` is set."""

    def __init__(self) -> None:
        self.images: list[bytes] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.images.append(scope.get("state", {}).get("image", b"none"))
        await self.hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"{}"})


async def ask(
    middleware: RequestLimits,
    chunks: Iterable[bytes] = (b"",),
    path: str = "/predict",
    method: str = "POST",
    address: str = "10.0.0.1",
    pause: float = 0,
    **headers: str,
) -> tuple[int, dict, dict]:
    """Send one request through the middleware: status, JSON, headers."""
    headers = {"host": "127.0.0.1", "content-type": f"multipart/form-data; boundary={BOUNDARY}"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "client": (address, 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    told: list[Message] = []

    async def stream() -> AsyncIterator[Message]:
        pieces = list(chunks)
        for place, piece in enumerate(pieces):
            await asyncio.sleep(pause)
            yield {"type": "http.request", "body": piece, "more_body": place < len(pieces) - 1}
        yield {"type": "http.disconnect"}

    source = stream()

    async def receive() -> Message:
        return await anext(source)

    async def send(message: Message) -> None:
        told.append(message)

    await middleware(scope, receive, send)
    text = b"".join(message.get("body", b"") for message in told[1:])
    given = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return told[0]["status"], json.loads(text), given


@examples(deadline=None)
@given(st.binary(max_size=3000), st.lists(st.integers(0, 3500), max_size=6))
def test_the_image_arrives_whole_however_the_body_is_cut(image: bytes, cuts: list[int]) -> None:
    inside = Inside()
    body = body_of(image)
    edges = sorted({0, *(cut for cut in cuts if cut < len(body)), len(body)})
    chunks = [body[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    # The bytes of a boundary inside an image end it, in every parser.
    if f"\r\n--{BOUNDARY}".encode() not in image:
        assert asyncio.run(ask(RequestLimits(inside, LIMITS), chunks))[0] == 200
        assert inside.images == [image]


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_cut(declared: bool) -> None:
    inside = Inside()
    middleware = RequestLimits(inside, LIMITS)
    body = body_of(bytes(30_000))
    chunks = [body[start : start + 1000] for start in range(0, len(body), 1000)]
    headers = {"content_length": str(len(body))} if declared else {}
    status, told, _ = asyncio.run(ask(middleware, chunks, **headers))
    assert (status, told["error"], told["limit"]) == (413, "too_large", LIMIT)
    assert told["bytes"] > LIMIT
    assert inside.images == []
    assert middleware.held == 0


@pytest.mark.parametrize(
    ("chunks", "headers", "status"),
    [
        ([b"{}"], {"content_type": "application/json"}, 415),
        ([b"image=http://127.0.0.1/"], {"content_type": "application/x-www-form-urlencoded"}, 415),
        ([body_of(b"x")], {"content_type": "multipart/form-data"}, 400),
        ([body_of(b"x")[:-6]], {}, 400),
        ([body_of(b"x", "other")], {}, 400),
        ([body_of(b"x")[:-14] + b"\r\n" + body_of(b"y")], {}, 400),
        ([body_of(b"x").replace(b'; filename="../../a b.jpeg"', b"")], {}, 400),
        ([b"rubbish" * 20], {}, 400),
        ([b""], {}, 400),
    ],
    ids=["json", "form", "no boundary", "cut", "other field", "two images", "text field", "rubbish", "empty"],
)
def test_a_body_that_is_no_image_form(
    chunks: list[bytes], headers: dict[str, str], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    inside = Inside()
    got, told, _ = asyncio.run(ask(RequestLimits(inside, LIMITS), chunks, **headers))
    assert (got, set(told)) == (status, {"error", "detail"})
    assert inside.images == []
    assert caplog.text == ""  # the parser would quote the body


def test_a_slow_body_is_given_up() -> None:
    status, told, _ = asyncio.run(
        ask(RequestLimits(Inside(), LIMITS), [b"--boundary\r\n", b"Con", b"tent", b"-Dis", b"pos"], pause=0.2)
    )
    assert (status, told["error"]) == (408, "too_slow")


def test_too_many_of_one_address_then_too_many_at_all() -> None:
    async def play() -> None:
        inside = Inside()
        middleware = RequestLimits(inside, LIMITS)
        inside.hold.clear()
        waiting = [asyncio.create_task(ask(middleware, [body_of(b"x")], address=who)) for who in ("a", "a", "b")]
        while len(inside.images) < 3:
            await asyncio.sleep(0)
        status, told, headers = await ask(middleware, [body_of(b"x")], address="a")
        assert (status, told["error"], headers["retry-after"]) == (429, "too_many_requests", "1")
        status, told, headers = await ask(middleware, [body_of(b"x")], address="c")
        assert (status, told["error"], headers["retry-after"]) == (503, "overloaded", "1")
        inside.hold.set()
        assert [answer[0] for answer in await asyncio.gather(*waiting)] == [200, 200, 200]
        assert (await ask(middleware, [body_of(b"x")], address="a"))[0] == 200
        assert (middleware.held, middleware.inside.total()) == (0, 0)

    asyncio.run(play())


def test_bodies_held_at_once_are_bounded() -> None:
    async def play() -> None:
        inside = Inside()
        middleware = RequestLimits(inside, LIMITS)
        inside.hold.clear()
        waiting = [asyncio.create_task(ask(middleware, [body_of(bytes(9000))], address=who)) for who in ("a", "b")]
        while len(inside.images) < 2:
            await asyncio.sleep(0)
        assert (await ask(middleware, [body_of(bytes(9000))], address="c"))[0] == 503
        inside.hold.set()
        assert [answer[0] for answer in await asyncio.gather(*waiting)] == [200, 200]
        assert middleware.held == 0

    asyncio.run(play())


@pytest.mark.parametrize(
    ("path", "authorization", "status"),
    [
        ("/predict", "", 401),
        ("/predict", "Bearer wrong", 401),
        ("/predict", "Basic secret", 401),
        ("/predict", "Bearer sécret", 401),
        ("/predict", "Bearer secret", 200),
        ("/model", "", 401),
        ("/metrics", "", 401),
        ("/schema.json", "", 401),
        ("/livez", "", 200),
        ("/readyz", "", 200),
        ("/", "", 200),
        ("/static/page.js", "", 200),
    ],
)
def test_token(path: str, authorization: str, status: int) -> None:
    method = "POST" if path == "/predict" else "GET"
    middleware = RequestLimits(Inside(), LIMITS, token="secret")
    assert asyncio.run(ask(middleware, [body_of(b"x")], path, method, authorization=authorization))[0] == status


def test_answers_keep_browsers_from_other_hosts() -> None:
    _, _, headers = asyncio.run(ask(RequestLimits(Inside(), LIMITS), path="/", method="GET"))
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"


def test_plain_errors_become_json() -> None:
    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"Not Found"})

    status, told, headers = asyncio.run(ask(RequestLimits(plain, LIMITS), path="/nothing", method="GET"))
    assert (status, told["error"]) == (404, "not_found")
    assert headers["content-type"] == "application/json"
