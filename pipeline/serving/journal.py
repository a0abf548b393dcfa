"""The log of answers in SQLite: hash, probability, version. Never pixels, never a name."""

import hashlib
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
FULL = 10_000


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
        """Note an answer; waits only when ten thousand are unwritten."""
        self._lines.put((time.time(), hashlib.sha256(pixels).hexdigest(), probability, version))

    def close(self) -> None:
        """Write what is left."""
        self._lines.put(None)
        self._thread.join()
        self._connection.close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with self._connection:
                self._connection.execute(
                    "INSERT INTO answers (time, picture, probability, version) VALUES (?, ?, ?, ?)", line
                )
