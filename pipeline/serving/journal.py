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

log = logging.getLogger("bentoml.pneumonia")


def connect(path: Path) -> sqlite3.Connection:
    """Open the log, making it where there is none; several workers may write at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(TABLE)
    return connection


class Journal:
    """Writes answers in a thread of its own, so that no client waits for the disk."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self._lines: queue.Queue[tuple[float, str, float, str] | None] = queue.Queue(FULL)
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def add(self, pixels: bytes, probability: float, version: str) -> None:
        """Note an answer; no client waits, and none fails, for a disk that is slow or full."""
        try:
            self._lines.put_nowait((time.time(), hashlib.sha256(pixels).hexdigest(), probability, version))
        except queue.Full:
            log.error("an answer is not in the log: %d are waiting for the disk", FULL)

    def close(self) -> None:
        """Write what is left."""
        self._lines.put(None)
        self._thread.join()
        self._connection.close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                with self._connection:
                    self._connection.execute(INSERT, line)
            except sqlite3.Error as error:
                log.error("an answer is not in the log: %s", error)
