"""A few commands at a time, which end with the process that started them."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any, Self, TypeVar

from pipeline import paths

T = TypeVar("T")
NOT_STARTED = -signal.SIGTERM  # the exit status of a command that came too late


class Workers:
    """Threads that start commands, as a context: when its block ends by an exception, every command ends too.

    Only threads start commands, so that Ctrl-C finds the main thread waiting and never in the middle of a start.
    """

    def __init__(self, number: int):
        self._threads = ThreadPoolExecutor(number)
        self._alone = threading.Lock()
        self._running: set[subprocess.Popen[Any]] = set()
        self._ended = False

    def __enter__(self) -> Self:
        # `kill` and a terminal that closes are what Ctrl-C is; what nohup ignores stays ignored.
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            self._end()
        self._threads.shutdown(cancel_futures=True)

    def submit(self, call: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have a thread call this as soon as one is free."""
        return self._threads.submit(call, *arguments)

    def run(self, command: list[str], environment: dict[str, str], output: IO[str] | None = None) -> int:
        """Run a command in the project's folder, its output into a file if one is given; returns its exit status."""
        with self._alone:
            if self._ended:
                return NOT_STARTED
            process = subprocess.Popen(
                command, cwd=paths.ROOT, env=environment, stdout=output, stderr=output and subprocess.STDOUT,
                start_new_session=True,  # a group of its own: DVC, its shell and the stage are told to end at once
            )  # fmt: skip
            self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._alone:
                self._running.discard(process)

    def _end(self) -> None:
        with self._alone:
            self._ended = True
            for process in self._running:
                if process.poll() is None:
                    with suppress(ProcessLookupError):  # it ended in this moment
                        os.killpg(process.pid, signal.SIGTERM)
