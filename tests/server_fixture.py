"""The real server as a subprocess on a free port."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

SERVICE = "pipeline.serving.service:Pneumonia"
CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass
class Server:
    """A running server: its address, its root folder (models, params.yaml), its process and log."""

    url: str
    root: Path
    process: subprocess.Popen[bytes]
    log: Path

    def post(
        self, data: bytes, route: str = "/predict", name: str = "picture", kind: str = "image/jpeg", **more
    ) -> httpx.Response:
        """Send `data` as the file of the field `image`."""
        return httpx.post(self.url + route, files={"image": (name, data, kind)}, timeout=120, **more)

    def get(self, route: str, **more) -> httpx.Response:
        return httpx.get(self.url + route, timeout=120, **more)

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        done = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)], check=False, capture_output=True, text=True
        )
        return [int(line.split()[0]) for line in done.stdout.splitlines() if "_bentoml_impl.worker.service" in line]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def serve(
    root: Path, until: str = "/readyz", target: str = SERVICE, before: tuple[str, ...] = (), **environment: str
) -> Iterator[Server]:
    """Run `bentoml serve` over the champion in `root`, with one worker unless told otherwise; stop it at the end.

    Yields when the address `until` answers 200; `before` stands before the command.
    """
    if not (root / "params.yaml").exists():
        shutil.copy(CHECKOUT / "params.yaml", root)
    port = free_port()
    log = root / "server.log"
    inherited = {name: value for name, value in os.environ.items() if name != "SERVE_METRICS_FOLDER"}
    settings = {"SERVE_WORKERS": "1", "SERVE_OUT_OF_DISTRIBUTION": "warn", **environment}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "bentoml", "serve", target, "--port", str(port)],
            cwd=CHECKOUT if target == SERVICE else root,
            env={**inherited, "PIPELINE_ROOT": str(root), **settings},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", root, process, log)
    try:
        wait_until(server, until)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(server: Server, route: str, seconds: float = 300) -> None:
    """Return when the address answers 200; fail with the server's log."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        with contextlib.suppress(httpx.TransportError):
            if server.get(route).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"the server is not ready:\n{server.log.read_text()[-4000:]}")
