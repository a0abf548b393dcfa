"""Clients that no library plays: they send half a request, or do not read."""

import socket
from urllib.parse import urlsplit

from tests.server_fixture import Server


def connected(server: Server, sent: bytes = b"", receive: int | None = None) -> socket.socket:
    """A connection on which `sent` was sent; `receive` is the size of its buffer in bytes, so that answers back up."""
    client = socket.socket()
    if receive:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    client.connect(("127.0.0.1", urlsplit(server.url).port))
    client.sendall(sent)
    return client


def upload(data: bytes, route: str = "/predict", length: int | None = None) -> bytes:
    """A request with one file; `length` is what it declares, where that is not the truth."""
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = head + data + b"\r\n--x--\r\n"
    return (
        f"POST {route} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"Content-Length: {length or len(body)}\r\n\r\n"
    ).encode() + body
