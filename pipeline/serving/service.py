"""The service: one picture in, one answer out. `bentoml serve` finds it through pyproject.toml."""

import asyncio
import contextlib
import importlib
import logging
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, cast

os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # before BentoML asks
os.environ.setdefault("OTEL_SDK_DISABLED", "true")  # nothing reads its records

from pipeline.serving import metrics  # isort: skip - names its folder before BentoML can import prometheus_client

import bentoml
import numpy as np
from bentoml._internal.server.http import traffic
from PIL import Image

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.inference import Outputs
from pipeline.input_check import guard
from pipeline.serving import model, page, schemas, uploads
from pipeline.serving.journal import Journal
from pipeline.serving.problems import Problem
from pipeline.serving.request_limits import Admission
from pipeline.serving.schemas import Answer, Explanation, Upload
from pipeline.serving.settings import load_serve

log = logging.getLogger("bentoml.pneumonia")

try:
    SETTINGS = load_serve()
except ProjectError as error:
    sys.exit(f"serve: {error}")
LIMITS = uploads.limits_of(SETTINGS)
DECODERS = 2  # threads; more would hold more decoded pictures at once
LOOK_SECONDS = 1.0  # between looks at models/CHAMPION


class Champion:
    """The model that answers, and the watch over models/CHAMPION."""

    def __init__(self) -> None:
        self._model: model.Model | None = None
        self._refused = ""  # the last version that could not be loaded

    @property
    def ready(self) -> bool:
        return self._model is not None

    def current(self) -> model.Model:
        """The champion of this moment; who holds it may finish with it.

        Raises:
            Problem: 503 while none is loaded.
        """
        if self._model is None:
            raise Problem(503, "not_ready", "no champion is loaded yet")
        return self._model

    async def look(self) -> None:
        """Load and warm up the version that models/CHAMPION names, then let it answer; keep the old one if it cannot."""
        version = ""
        try:
            version = model.champion_version()
            if version == self._refused or (self._model and version == self._model.version):
                metrics.REFUSED.set(version == self._refused)
                return
            loaded = await asyncio.to_thread(model.load, version, SETTINGS.threads)
            await model.warm_up(loaded)
        except ProjectError as error:
            if version != self._refused or not self.ready:
                log.error("%s", error)
            self._refused = version
            metrics.REFUSED.set(1)
            return
        self._model, self._refused = loaded, ""
        metrics.REFUSED.set(0)
        metrics.loaded(version)
        log.info("champion %s answers, on %s in %s", version, loaded.network.runtime, loaded.network.precision)

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:
                log.exception("a look at models/CHAMPION failed; the old champion goes on")


CHAMPION = Champion()


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
        self.decoders = ThreadPoolExecutor(DECODERS, "decoder")
        self.journal = Journal(paths.ROOT / SETTINGS.log) if SETTINGS.log else None

    @bentoml.on_startup
    async def start(self) -> None:
        importlib.import_module("pipeline.decoding.dicom")  # the first film shall not wait for these two
        Image.init()
        await CHAMPION.look()
        self.watch = asyncio.create_task(CHAMPION.watch())

    @bentoml.on_shutdown
    async def stop(self) -> None:
        self.watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.watch
        if self.journal:
            self.journal.close()

    async def __is_ready__(self) -> bool:
        return CHAMPION.ready

    @bentoml.api(input_spec=Upload)
    async def predict(self, image: bytes) -> Answer:
        """Score one radiograph for signs of pneumonia: one of three outcomes.

        The picture is JPEG, PNG, TIFF or DICOM, sent as a multipart file in the field `image`.
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

    async def _examine(self, picture: bytes) -> _Examined:
        champion = CHAMPION.current()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SETTINGS.patience_seconds):
                image = await loop.run_in_executor(self.decoders, uploads.read, picture, champion.side, LIMITS)
                outputs = await champion.network.infer(image.pixels)
        except TimeoutError:
            raise Problem(503, "overloaded", f"no turn within {SETTINGS.patience_seconds:g} seconds") from None
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
        facts: dict[str, float | str] = {"score": round(judged.score, 4), "limit": round(judged.limit, 4)}
        if judged.reason:  # a check of 0.1.0 knows none
            facts["reason"] = judged.reason
        raise Problem(422, "no_chest_radiograph", judged.said, **facts)
    return [judged.said] if judged.said else []


_service = cast("bentoml.Service[Pneumonia]", Pneumonia)  # what the decorator has made of the class
# BentoML's own timeout keeps what it knows of a request until its time is up, answered or not: under load some 20 MB for
# each worker. `Admission` and `_examine` end what takes too long.
traffic.TimeoutMiddleware = lambda app, timeout: app  # type: ignore[assignment,misc,return-value]
_service.add_asgi_middleware(Admission, limits=SETTINGS, token=os.environ.get("SERVE_TOKEN"))
_service.mount_asgi_app(
    page.build(CHAMPION.current, LIMITS, lambda: _service.openapi_spec.asdict()), path="/", name="page"
)
