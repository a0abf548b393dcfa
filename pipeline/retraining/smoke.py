"""Start the service on the run's champion, on loopback, and send it images: does it answer as the champion should?"""

import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import requests

from pipeline.data.imaging import read_pixels
from pipeline.errors import ProjectError
from pipeline.inference import Graph
from pipeline.labels import CLASSES
from pipeline.registry import contract
from pipeline.retraining.request import from_environment
from pipeline.retraining.subprocesses import end_with_parent, tool
from pipeline.retraining.workspaces import workspace_of

log = logging.getLogger("smoke")

IMAGES = 8  # half of each class
TOLERANCE = 1e-3  # of a served probability against the offline one
READY_SECONDS = 120
WITHOUT = ("SERVE_TOKEN", "SERVE_PREVALENCE", "SERVE_LOG", "PIPELINE_ROOT")


def main() -> None:
    """Serve, ask, compare.

    Raises:
        ProjectError: the service does not come up, or an answer is not the champion's.
    """
    end_with_parent()
    folder = workspace_of(from_environment())
    version = (folder / "models" / "CHAMPION").read_text(encoding="utf-8").strip()
    champion = folder / "models" / "champions" / version
    images = choose_images(folder)
    side = contract.read(champion)["input"]["shape"][1]
    expected = Graph(champion / "model.onnx").answer(np.stack([read_pixels(path, side) for path in images]))
    with served(folder) as address:
        answered = sum(
            ask(address, path, float(probability), version)
            for path, probability in zip(images, expected.probabilities, strict=True)
        )
    if answered < len(images) / 2:
        raise ProjectError(
            f"{version} refused {len(images) - answered} of {len(images)} radiographs of the test folder"
        )
    log.info("%s answers %d images as it did offline", version, answered)


def choose_images(folder: Path) -> list[Path]:
    """The first test images of each class."""
    test = folder / "data" / "raw" / "test"
    chosen = [path for label in CLASSES for path in sorted((test / label).iterdir())[: IMAGES // 2]]
    if not chosen:
        raise ProjectError(f"{test} holds no image to ask about")
    return chosen


def ask(address: str, path: Path, probability: float, version: str) -> bool:
    """Send one image: an answer must be this champion's and what it said offline. False where its guard refuses.

    Raises:
        ProjectError: it is not.
    """
    with path.open("rb") as stream:
        response = requests.post(f"{address}/predict", files={"image": (path.name, stream)}, timeout=60)
    answer = response.json()
    if response.status_code == 422 and "error" in answer:
        log.info("%s was refused: %s", path.name, answer["error"])
        return False
    if response.status_code != 200:
        raise ProjectError(f"the service answered {response.status_code} to {path.name}: {response.text[:200]}")
    if answer["model_version"] != version:
        raise ProjectError(f"the service answers as {answer['model_version']}, the champion is {version}")
    if abs(answer["probability"] - probability) > TOLERANCE:
        raise ProjectError(f"{path.name}: served probability {answer['probability']:.4f}, offline {probability:.4f}")
    return True


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a service that runs in `folder` for as long as the block does.

    Raises:
        ProjectError: it was not ready in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {name: value for name, value in os.environ.items() if name not in WITHOUT}
    environ["SERVE_WORKERS"] = "1"
    command = [tool("bentoml"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    service = subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        start_new_session=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509
    )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", service)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):  # it ended by itself: the reason is on its way already
            os.killpg(service.pid, signal.SIGTERM)
        try:
            service.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(service.pid, signal.SIGKILL)
            service.wait()


def _wait_until_ready(address: str, service: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if service.poll() is not None:
            raise ProjectError(f"the service ended with status {service.returncode} before it was ready")
        try:
            if requests.get(f"{address}/readyz", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise ProjectError(f"the service was not ready after {READY_SECONDS} seconds")
