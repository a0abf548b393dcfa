"""A server that speaks what a public data set needs of Kaggle's protocol: a call, a redirect, a file with ranges."""

import base64
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

CALL = "/v1/datasets.DatasetApiService/DownloadDataset"
FILE = "/bucket/archive.zip"
FILLER = 5 * 2**20  # bytes that do not compress: kagglehub writes its part file by the MiB


class Kaggle(ThreadingHTTPServer):
    """Serves `archive`; with `cut`, an answer ends after so many bytes; with `stall`, it waits there instead."""

    daemon_threads = True

    def __init__(self, archive: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.archive = archive
        self.cut: int | None = None
        self.stall = False
        self.status = 302
        self.stalled, self.release = threading.Event(), threading.Event()
        self.ranges: list[str] = []  # "from-" of each request for a part
        self.calls: list[dict[str, object]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Kaggle

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append(json.loads(body) | {"path": self.path})
        self.send_response(self.server.status if self.path == CALL else 404)
        self.send_header("Location", f"{self.server.address}{FILE}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        archive, start = self.server.archive, 0
        wanted = self.headers.get("Range")
        if wanted:
            self.server.ranges.append(wanted.removeprefix("bytes="))
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        md5 = base64.b64encode(hashlib.md5(archive, usedforsecurity=False).digest()).decode()
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(archive) - start))
        self.send_header("x-goog-hash", f"md5={md5}")
        self.end_headers()
        end = len(archive) if self.server.cut is None else start + self.server.cut
        try:
            self.wfile.write(archive[start:end])
            if end < len(archive) and self.server.stall:
                self.server.stalled.set()
                self.server.release.wait(60)
        except OSError:
            pass  # the client went away, or asked only for the headers

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(archive: bytes) -> Iterator[Kaggle]:
    """A running server."""
    with Kaggle(archive) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.release.set()
            server.shutdown()
            thread.join()


def archive_of(files: dict[str, bytes]) -> bytes:
    """A zip archive with these members, under exactly these names, and a filler."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
        archive.writestr("filler.bin", np.random.default_rng(0).bytes(FILLER))
    return stream.getvalue()
