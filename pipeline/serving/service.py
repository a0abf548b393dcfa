"""The service: one image in, one answer out. `bentoml serve` finds it through pyproject.toml."""

import asyncio
import contextlib
import logging
import os
import sys
import time
from typing import NamedTuple, cast

os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # before BentoML asks
os.environ.setdefault("OTEL_SDK_DISABLED", "true")  # nothing reads its records
# For the workers, which the process that reads this starts: what an upload took goes back to the system at its end.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**22))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**22))
os.environ.setdefault("MALLOC_ARENA_MAX", "4")

from pipeline.serving import metrics  # isort: skip - names its folder before BentoML can import prometheus_client

import bentoml
import numpy as np
from bentoml._internal.server.http import traffic
from PIL import Image
from starlette.middleware.cors import CORSMiddleware

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.inference import Outputs
from pipeline.input_check import guard
from pipeline.serving import model, page, profile, schemas, shutdown, supervisor
from pipeline.serving.champion import CHECK_SECONDS, Champion
from pipeline.serving.decoders import Decoders
from pipeline.serving.journal import Journal
from pipeline.serving.problems import Problem
from pipeline.serving.request_limits import RequestLimits
from pipeline.serving.schemas import Answer, Explanation, Upload
from pipeline.serving.settings import load_serve

log = logging.getLogger("bentoml.pneumonia")

try:
    SETTINGS = load_serve()
    PROFILE = profile.read(SETTINGS.profile) if SETTINGS.profile else None
except ProjectError as error:
    sys.exit(f"serve: {error}")
SHUTDOWN_SECONDS = 4  # that a request or a client that does not end may keep a worker which is told to stop
CHAMPION = Champion(SETTINGS.threads, PROFILE)
DECODERS = Decoders(SETTINGS)


class _Examined(NamedTuple):
    champion: model.Model
    outputs: Outputs
    warnings: list[str]


@bentoml.service(
    name="pneumonia",
    workers=SETTINGS.workers,
    http={"host": "127.0.0.1", "port": 3000},
    metrics={"enabled": False},  # BentoML labels its own by path, which a client chooses; ours are at /metrics
    logging={"access": {"enabled": False}},
)
class Pneumonia:
    """Pneumonia in frontal chest radiographs of children aged 1 to 5. Research software, not a medical device."""

    def __init__(self) -> None:
        self.journal = Journal(paths.ROOT / SETTINGS.log) if SETTINGS.log else None

    @bentoml.on_startup
    async def start(self) -> None:
        DECODERS.start()
        shutdown.bound(SHUTDOWN_SECONDS)
        Image.init()  # the first image shall not wait for it
        await CHAMPION.check()
        self.watch = asyncio.create_task(self._watch())

    @bentoml.on_shutdown
    async def stop(self) -> None:
        DECODERS.close()
        self.watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.watch
        if self.journal:
            self.journal.close()

    async def _watch(self) -> None:
        """Look again and again at what may have changed on the disk."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await CHAMPION.check()
            metrics.keep_shared()

    async def __is_ready__(self) -> bool:
        waits = "" if DECODERS.can_answer else "uploads wait for their turn"
        troubles = [CHAMPION.trouble, metrics.trouble, self.journal.trouble if self.journal else "", waits]
        if any(troubles):
            raise Problem(503, "not_ready", "; ".join(filter(None, troubles)))
        return CHAMPION.ready

    @bentoml.api(input_spec=Upload)
    async def predict(self, image: bytes) -> Answer:
        """Score one radiograph for signs of pneumonia: one of three outcomes.

        The image is JPEG, PNG, TIFF or DICOM, sent as a multipart file in the field `image`.
        """
        started = time.perf_counter()
        try:
            examined = await self._examine(image)
        except Problem as problem:
            return problem.response()  # type: ignore[return-value]
        return schemas.answer(*examined, SETTINGS.prevalence, started)

    @bentoml.api(input_spec=Upload)
    async def explain(self, image: bytes) -> Explanation:
        """The answer of `predict`, and the map: where in the radiograph the evidence for pneumonia lies."""
        started = time.perf_counter()
        try:
            examined = await self._examine(image)
        except Problem as problem:
            return problem.response()  # type: ignore[return-value]
        return schemas.explanation(*examined, SETTINGS.prevalence, started)

    async def _examine(self, upload: bytes) -> _Examined:
        champion = CHAMPION.current()
        async with DECODERS.patience():
            image = await DECODERS.read(upload, champion.side)
            outputs = await champion.network.infer(image.pixels)
        warnings = [*image.warnings, *_check(champion, image.pixels, outputs)]
        metrics.SCORE.observe(outputs.probability)
        if self.journal:
            self.journal.add(image.pixels.tobytes(), outputs.probability, champion.version)
        return _Examined(champion, outputs, warnings)


def _check(champion: model.Model, pixels: np.ndarray, outputs: Outputs) -> list[str]:
    """What the input check warns of.

    Raises:
        Problem: it rejects the image.
    """
    judged = guard.judge(champion.guard, pixels, outputs.features)
    if judged.rejected and SETTINGS.out_of_distribution == "refuse":
        numbers = {"score": round(judged.score, 4), "limit": round(judged.limit, 4)}
        reason = {"reason": judged.reason} if judged.reason else {}
        raise Problem(422, "no_chest_radiograph", judged.said, None, **numbers, **reason)
    return [judged.said] if judged.said else []


_service = cast("bentoml.Service[Pneumonia]", Pneumonia)  # what the decorator has made of the class
# BentoML's own timeout keeps what it knows of a request until its time is up, answered or not: under load some 20 MB for
# each worker. `RequestLimits` and `Decoders` end what takes too long.
traffic.TimeoutMiddleware = lambda app, timeout: app  # type: ignore[assignment,misc,return-value]
supervisor.close_ports()
os.environ["FORWARDED_ALLOW_IPS"] = ",".join(SETTINGS.proxies)  # uvicorn's own default believes everybody on loopback
if SETTINGS.origins:
    _service.add_asgi_middleware(
        CORSMiddleware,
        allow_origins=SETTINGS.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization"],
    )
_service.add_asgi_middleware(RequestLimits, limits=SETTINGS, token=os.environ.get("SERVE_TOKEN"))
_service.mount_asgi_app(
    page.build(CHAMPION.card, DECODERS.show, lambda: _service.openapi_spec.asdict()), path="/", name="page"
)
