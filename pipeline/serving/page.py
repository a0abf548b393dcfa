"""What the service shows beside its API: the page at /, the contract, the API's document, metrics."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipeline.serving import metrics, openapi
from pipeline.serving.problems import Problem

STATIC = Path(__file__).parent / "static"


def build(
    card: Callable[[], dict[str, Any]],
    show: Callable[[bytes], Awaitable[bytes]],
    specification: Callable[[], dict[str, Any]],
) -> Starlette:
    """The app that is mounted beside the API.

    Args:
        card: gives the contract of the champion that answers, and what is refused in its place.
        show: makes the grey PNG of an upload.
        specification: gives BentoML's OpenAPI document.
    """

    async def index(request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def docs(request: Request) -> Response:
        return FileResponse(STATIC / "docs.html")

    async def document(request: Request) -> Response:
        return JSONResponse(openapi.complete(specification()))

    async def model(request: Request) -> Response:
        return JSONResponse(card())

    async def image(request: Request) -> Response:
        return Response(await show(request.state.image), media_type="image/png")

    async def numbers(request: Request) -> Response:
        return Response(await run_in_threadpool(metrics.text), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.response()

    return Starlette(
        routes=[
            Route("/", index),
            Route("/model", model),
            Route("/picture", image, methods=["POST"]),
            Route("/docs", docs),
            Route("/docs.json", document),
            Route("/metrics", numbers),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={Problem: refuse},
    )
