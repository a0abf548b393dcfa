"""The log of answers in SQLite: hash, probability, version. Never pixels, never a name."""

import hashlib
import logging
import queue
import sqlite3
import threading
import time
from pathlib import Path

TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,           -- seconds since 1970
    picture TEXT NOT NULL,        -- SHA-256 of the network's input
    probability REAL NOT NULL,    -- as the network gives it
    version TEXT NOT NULL
)
"""
INSERT = "INSERT INTO answers (time, picture, probability, version) VALUES (?, ?, ?, ?)"
FULL = 10_000
TRY_SECONDS = 1.0  # between two tries to open it
AGAIN_SECONDS = 60.0  # between two lines in the log about answers that are not in it

log = logging.getLogger("bentoml.pneumonia")


def connect(path: Path) -> sqlite3.Connection:
    """Open the log, making it where there is none; several workers may write at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(TABLE)
    return connection


class Journal:
    """Writes answers in a thread of its own, so that no client waits for the disk, or goes without an answer for it.

    `trouble` says why it could not be opened yet; answers wait in memory until it can.
    """

    def __init__(self, path: Path) -> None:
        self.trouble = "the log of answers is not open yet"
        self._path = path
        self._lines: queue.Queue[tuple[float, str, float, str]] = queue.Queue(FULL)
        self._ending = threading.Event()
        self._lost, self._next_line = 0, 0.0
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def add(self, pixels: bytes, probability: float, version: str) -> None:
        """Note an answer; no client waits, and none fails, for a disk that is slow or full."""
        try:
            self._lines.put_nowait((time.time(), hashlib.sha256(pixels).hexdigest(), probability, version))
        except queue.Full:
            self._lose(f"{FULL} are waiting for the disk")

    def close(self) -> None:
        """Write what is left."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        connection = self._open()
        if connection is None:
            return
        while not (self._ending.is_set() and self._lines.empty()):
            try:
                line = self._lines.get(timeout=0.2)
            except queue.Empty:
                continue
            try:
                with connection:
                    connection.execute(INSERT, line)
            except sqlite3.Error as error:
                self._lose(str(error))
        connection.close()

    def _open(self) -> sqlite3.Connection | None:
        """The log, as soon as it can be opened; None when the service ends before."""
        while True:
            try:
                connection = connect(self._path)
            except (OSError, sqlite3.Error) as error:
                reason = getattr(error, "strerror", None) or str(error)
                trouble = f"the log of answers, {self._path}, cannot be opened: {reason}"
                if trouble != self.trouble:
                    log.error("%s; answers wait in memory", trouble)
                self.trouble = trouble
                if self._ending.wait(TRY_SECONDS):
                    return None
            else:
                self.trouble = ""
                return connection

    def _lose(self, reason: str) -> None:
        """Count an answer that is not in the log, and say so now and then."""
        self._lost += 1
        if time.monotonic() >= self._next_line:
            log.error("%d answers are not in the log: %s", self._lost, reason)
            self._next_line = time.monotonic() + AGAIN_SECONDS
