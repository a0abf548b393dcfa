"""Where uploads are decoded, for every address alike: two threads, and one process at a time for what may cost too much.

A JPEG or an 8-bit PNG whose headers bound what it costs stays in a thread. All else goes to `decode_process`, under limits
of CPU, memory and time that are counted for each upload. Either way the upload waits in a queue of this worker.
"""

import asyncio
import contextlib
import dataclasses
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import pipeline
from pipeline.data.imaging import GreyImage
from pipeline.decoding.errors import Unbounded, UnreadableImage
from pipeline.serving import uploads
from pipeline.serving.problems import Problem
from pipeline.serving.settings import Serve

THREADS = 2  # more would hold more decoded images at once
MAX_SAMPLES = 16_000_000  # unpacked in a thread, all passes over the image counted: less than a second, 60 MB
STUCK_SECONDS = 5  # past the patience, after which a process that does not answer is replaced
MAX_ANSWER = 2**23  # bytes of a line or of its content; the largest preview has less than three million
CODE = Path(pipeline.__path__[0]).parent
T = TypeVar("T")


class DecodeProcess:
    """The warm process of one worker; started again when it is gone."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._limits = dataclasses.asdict(uploads.limits_of(serve))
        self._lock = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Start the process, which is warm a second later; anew where there was one."""
        self._stop()
        ours, theirs = socket.socketpair()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SERVE_")}  # no token
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.serving.decode_process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**kept, "PYTHONPATH": str(CODE), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        self._control = ours

    def run(self, data: bytes, side: int | None) -> tuple[list[str], bytes]:
        """Warnings, and the pixels of an upload (uint8, side * side of them) or, without a side, its preview.

        Raises:
            Problem: as for `uploads.read`; or 413, the upload passed a limit and its fork was ended.
        """
        serve = self._serve
        began = time.monotonic()
        patience = math.ceil(serve.patience_seconds)
        task = {
            "side": side,
            "size": len(data),
            "limits": self._limits,
            "seconds": serve.max_decode_seconds,
            "megabytes": serve.max_decode_megabytes,
            "patience": patience,
        }
        told = json.dumps(task).encode() + b"\n"
        facts, content = self._ask(told, data)
        if facts is None and self._is_gone():  # not this upload's fork alone has ended
            facts, content = self._ask(told, data)
        if facts is None and self._closed:
            raise Problem(503, "stopping", "the service stops")
        if facts is None and time.monotonic() - began >= serve.max_decode_seconds:
            limit = serve.max_decode_seconds
            raise _too_costly(f"takes more than {limit} seconds of CPU (max_decode_seconds)", limit)
        if facts is None or facts.get("error") == "too_costly":  # less time cannot have passed the limit of CPU
            limit = serve.max_decode_megabytes
            raise _too_costly(f"needs more than {limit} MB (max_decode_megabytes), or it broke its decoder", limit)
        if "error" in facts:
            raise Problem.of(UnreadableImage(facts["error"], facts["detail"], **facts["facts"]))
        return facts["warnings"], content

    def close(self) -> None:
        """End the process and what it has forked."""
        self._closed = True
        self._stop()

    def _stop(self) -> None:
        if self._process and self._control:
            self._control.close()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _is_gone(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _ask(self, task: bytes, data: bytes) -> tuple[dict[str, Any] | None, bytes]:
        """What a fork answers; None where it was ended before it could."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._hand_over(theirs)
            ours.settimeout(self._serve.patience_seconds + STUCK_SECONDS)
            try:
                with ours.makefile("rb") as stream:
                    ours.sendall(task)
                    ours.sendall(data)
                    line, content = stream.readline(MAX_ANSWER), stream.read(MAX_ANSWER)
                    if line and (facts := json.loads(line))["size"] == len(content):
                        return facts, content
            except TimeoutError:  # a fork has ended by now: it is the process that does not answer
                self._stop()
            except (OSError, ValueError):  # the fork has ended while it read or wrote
                pass
        return None, b""

    def _hand_over(self, theirs: socket.socket) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._closed:
                return
            if self._is_gone():
                self.start()
            assert self._control is not None
            socket.send_fds(self._control, [b"+"], [theirs.fileno()])


def _too_costly(what: str, limit: int) -> Problem:
    return Problem(413, "too_costly", f"decoding the image {what}", limit=limit)


class Decoders:
    """The queues of one worker, and how long the first in them has waited."""

    def __init__(self, serve: Serve) -> None:
        self._patience = serve.patience_seconds
        self._bounded = dataclasses.replace(uploads.limits_of(serve), max_samples=MAX_SAMPLES)
        self._threads = ThreadPoolExecutor(THREADS, "decoder")
        self._caller = ThreadPoolExecutor(1, "decode-process")
        self._process = DecodeProcess(serve)
        self._unfinished: dict[Future[Any], float] = {}  # since when

    def start(self) -> None:
        """Start the process, so that no upload waits for it."""
        self._process.start()

    async def read(self, data: bytes, side: int) -> GreyImage:
        """Decode an upload to pixels of `side`.

        Raises:
            Problem: as for `uploads.read`; 413 it costs too much.
        """

        def elsewhere() -> GreyImage:
            warnings, content = self._process.run(data, side)
            return GreyImage(np.frombuffer(content, np.uint8).reshape(side, side), warnings)

        return await self._decode(lambda: uploads.read(data, side, self._bounded), elsewhere)

    async def show(self, data: bytes) -> bytes:
        """An upload as a grey PNG: see `preview`.

        Raises:
            Problem: as for `read`; 503 no turn in time.
        """
        async with self.patience():
            return await self._decode(
                lambda: uploads.show(data, self._bounded), lambda: self._process.run(data, side=None)[1]
            )

    @contextlib.asynccontextmanager
    async def patience(self) -> AsyncIterator[None]:
        """No request waits longer than the patience of the service.

        Raises:
            Problem: 503, the time is over.
        """
        try:
            async with asyncio.timeout(self._patience):
                yield
        except TimeoutError:
            raise Problem(503, "overloaded", f"no turn within {self._patience:g} seconds") from None

    @property
    def can_answer(self) -> bool:
        """Whether the queues move: nothing in them has waited for half of the patience."""
        oldest = min(list(self._unfinished.values()), default=math.inf)
        return time.monotonic() - oldest < self._patience / 2

    def close(self) -> None:
        """End the process, and with it what waits for it."""
        self._process.close()
        for pool in (self._caller, self._threads):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _decode(self, here: Callable[[], T], elsewhere: Callable[[], T]) -> T:
        with contextlib.suppress(Unbounded):
            return await self._turn(self._threads, here)
        return await self._turn(self._caller, elsewhere)

    async def _turn(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        future = pool.submit(work)
        self._unfinished[future] = time.monotonic()
        future.add_done_callback(lambda done: self._unfinished.pop(done, None))
        try:
            return await asyncio.wrap_future(future)
        finally:
            del (
                future
            )  # which holds the error, whose traceback holds this frame: the upload would wait for the collector
