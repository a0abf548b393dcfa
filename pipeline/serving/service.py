"""The service: one picture in, one answer out. `bentoml serve` finds it through pyproject.toml."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor

os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # before BentoML asks

import bentoml

from pipeline import settings
from pipeline.serving import model, page, uploads
from pipeline.serving.answers import Answer, Upload, answer
from pipeline.serving.gate import Gate
from pipeline.serving.problems import Problem

SETTINGS = settings.load_serve()
current: model.Model | None = None


def serving() -> model.Model:
    """The champion that answers at this moment.

    Raises:
        Problem: 503 while none is loaded.
    """
    if current is None:
        raise Problem(503, "not_ready", "no champion is loaded yet")
    return current


@bentoml.service(
    name="pneumonia",
    workers=SETTINGS.workers,
    http={"host": "127.0.0.1", "port": 3000},
    metrics={"enabled": False},  # BentoML labels its own by path, which a client chooses; ours are at /metrics
    logging={"access": {"enabled": False}},
    traffic={"timeout": 3 * SETTINGS.patience_seconds},
)
class Pneumonia:
    """Pneumonia in frontal chest radiographs of children aged 1 to 5. Research software, not a medical device."""

    def __init__(self) -> None:
        self.limits = uploads.Limits(SETTINGS.max_pixels, SETTINGS.max_frames)
        self.decoders = ThreadPoolExecutor(2, "decoder")

    @bentoml.on_startup
    async def start(self) -> None:
        global current
        loaded = model.load(model.champion_version(), SETTINGS.threads)
        await model.warm_up(loaded)
        current = loaded

    async def __is_ready__(self) -> bool:
        return current is not None

    @bentoml.api(input_spec=Upload)
    async def predict(self, image: bytes) -> Answer:
        """Say whether one radiograph shows pneumonia: JPEG, PNG, TIFF or DICOM, as a multipart file in the field `image`."""
        try:
            return await self._answer(image)
        except Problem as problem:
            return problem.response()  # type: ignore[return-value]

    async def _answer(self, picture: bytes) -> Answer:
        champion = serving()
        started = time.perf_counter()
        try:
            async with asyncio.timeout(SETTINGS.patience_seconds):
                loop = asyncio.get_running_loop()
                read = await loop.run_in_executor(self.decoders, uploads.read, picture, champion.side, self.limits)
                outputs = await champion.network.infer(read.pixels)
        except TimeoutError:
            raise Problem(503, "overloaded", f"no turn within {SETTINGS.patience_seconds:g} seconds") from None
        milliseconds = 1000 * (time.perf_counter() - started)
        return answer(champion, outputs, SETTINGS.prevalence, read.warnings, milliseconds)


Pneumonia.add_asgi_middleware(Gate, limits=SETTINGS, token=os.environ.get("SERVE_TOKEN"))
Pneumonia.mount_asgi_app(page.build(serving), path="/", name="page")
