"""The model that answers, and the watch over models/CHAMPION: what cannot be served changes nothing."""

import asyncio
import logging
import os
import time
from dataclasses import dataclass
from typing import Any

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.registry import verification
from pipeline.serving import metrics, model
from pipeline.serving.problems import Problem
from pipeline.serving.profile import Profile

log = logging.getLogger("bentoml.pneumonia")

CHECK_SECONDS = 1.0  # between checks of models/CHAMPION
LONGEST_PAUSE = 8.0  # seconds between two tries of a champion whose files do not change
AGAIN_SECONDS = 600.0  # between two lines in the log about the same refusal


@dataclass(frozen=True)
class Refusal:
    """What models/CHAMPION names and is not served: the version ("" where the pointer itself is broken), and why."""

    version: str
    reason: str


class Champion:
    """The champion of a worker, read by the site's profile; whatever fails, the one that was loaded before goes on."""

    def __init__(self, threads: int, profile: Profile | None = None) -> None:
        self.refusal: Refusal | None = None
        self._threads = threads
        self._profile = profile
        self._model: model.Model | None = None
        self._pause = CHECK_SECONDS
        self._next_try = self._next_line = 0.0
        self._tried: tuple[str, object] | None = None  # the version and the state of its files at the last try

    @property
    def ready(self) -> bool:
        """Whether there is one that answers."""
        return self._model is not None

    @property
    def trouble(self) -> str:
        """Why there is none; "" where there is one."""
        if self.ready:
            return ""
        return self.refusal.reason if self.refusal else "no champion is loaded yet"

    def current(self) -> model.Model:
        """The champion of this moment; who holds it may finish with it.

        Raises:
            Problem: 503 while none is loaded.
        """
        if self._model is None:
            raise Problem(503, "not_ready", self.trouble)
        return self._model

    def card(self) -> dict[str, Any]:
        """The card of the one that answers, and what is refused in its place, if anything is."""
        refusal = self.refusal and {"version": self.refusal.version, "reason": self.refusal.reason}
        return {**self.current().card(), "refused": refusal}

    async def check(self) -> None:
        """Load and warm up the version that models/CHAMPION names, then let it answer; keep the old one if it cannot.

        A champion that was refused is tried again when its files have changed, as they do while it arrives, and from
        time to time where they have not: the disk or the memory may have been the trouble.
        """
        version = ""
        try:
            version = verification.pointer()
            if self._model and version == self._model.version:
                self._accept(self._model)
                return
            tried = (version, _state(version))
            if tried == self._tried and time.monotonic() < self._next_try:
                return
            same = self._tried is not None and self._tried[0] == version
            self._pause = min(2 * self._pause, LONGEST_PAUSE) if same else CHECK_SECONDS
            self._tried, self._next_try = tried, time.monotonic() + self._pause
            loaded = await asyncio.to_thread(model.load, version, self._threads, self._profile)
            await model.warm_up(loaded)
        except ProjectError as error:
            self._refuse(Refusal(version, str(error)))
        except Exception as error:  # noqa: BLE001 - of a library, the disk or the memory: no reason to end a worker
            self._refuse(Refusal(version, f"models/champions/{version} cannot be loaded: {error!r}"))
        else:
            self._accept(loaded)

    def _accept(self, loaded: model.Model) -> None:
        if self.refusal:
            log.info("%s is refused no more: %s answers", self.refusal.version or "models/CHAMPION", loaded.version)
        self.refusal, self._tried = None, None
        metrics.refused(False)
        if loaded is self._model:
            return
        self._model = loaded
        metrics.loaded(loaded.version)
        log.info("champion %s answers, on %s in %s", loaded.version, loaded.network.runtime, loaded.network.precision)

    def _refuse(self, refusal: Refusal) -> None:
        metrics.refused(True)
        if refusal != self.refusal or time.monotonic() >= self._next_line:
            goes_on = f"{self._model.version} goes on" if self._model else "no champion answers"
            log.error("%s; %s", refusal.reason, goes_on)
            self._next_line = time.monotonic() + AGAIN_SECONDS
        self.refusal = refusal


def _state(version: str) -> object:
    """What changes when a file of the champion does."""
    try:
        with os.scandir(paths.CHAMPIONS / version) as entries:
            stats = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except OSError:
        return None
    return sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats)
