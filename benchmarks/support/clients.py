"""The client that all servers are measured with: threads that send prepared bytes over kept connections."""

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

BOUNDARY = b"benchmark-boundary"


def request(image: bytes, route: str = "/predict") -> bytes:
    """The bytes of one request: the image as the file of the multipart field `image`."""
    head = b'Content-Disposition: form-data; name="image"; filename="image"\r\nContent-Type: image/jpeg\r\n\r\n'
    body = b"--" + BOUNDARY + b"\r\n" + head + image + b"\r\n--" + BOUNDARY + b"--\r\n"
    return (
        f"POST {route} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n\r\n"
    ).encode() + body


class Connection:
    """One kept connection to a server on this machine."""

    def __init__(self, port: int, seconds: float = 60) -> None:
        self._port, self._seconds = port, seconds
        self._socket: socket.socket | None = None

    def send(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises:
            OSError: the connection broke; the next call opens another.
        """
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), self._seconds)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(request)
            return self._receive(self._socket)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _receive(self, stream: socket.socket) -> tuple[int, bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._chunk(stream)
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        while len(body) < length:
            body += self._chunk(stream)
        if b"connection: close" in lines:
            self.close()
        return int(head[9:12]), body

    @staticmethod
    def _chunk(stream: socket.socket) -> bytes:
        chunk = stream.recv(1 << 16)
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        return chunk


@dataclass
class Outcome:
    """What came back: (number of the request, status, answer or None, seconds), in order of arrival."""

    answers: list[tuple[int, int, Any, float]] = field(default_factory=list)
    broken: list[tuple[int, float]] = field(default_factory=list)  # number, time.monotonic()
    seconds: float = 0.0


def send_all(
    port: int, requests: Sequence[bytes], clients: int, arrived: Callable[[int], None] | None = None
) -> Outcome:
    """Send every request once, `clients` at a time; `arrived` is told how many answers there are."""
    outcome = Outcome()
    numbers = iter(range(len(requests)))
    lock = threading.Lock()

    def work() -> None:
        connection = Connection(port)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                connection.close()
                return
            started = time.perf_counter()
            try:
                status, body = connection.send(requests[number])
            except OSError:
                with lock:
                    outcome.broken.append((number, time.monotonic()))
                continue
            seconds = time.perf_counter() - started
            with lock:
                outcome.answers.append((number, status, json.loads(body) if body.startswith(b"{") else None, seconds))
                if arrived:
                    arrived(len(outcome.answers))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcome.seconds = time.perf_counter() - started
    return outcome
