"""What the service shows to people: the page at /, the contract at /model."""

from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipeline.serving.model import Model

STATIC = Path(__file__).parent / "static"


def build(current: Callable[[], Model]) -> Starlette:
    """The app that is mounted beside the API; `current` gives the model that serves."""

    def index(request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    def model(request: Request) -> Response:
        return JSONResponse(current().card())

    return Starlette(
        routes=[
            Route("/", index),
            Route("/model", model),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
    )
