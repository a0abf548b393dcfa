"""Servers to be measured: a scratch root with a champion, the same network for Keras, and what a process holds."""

import contextlib
import io
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from pipeline import paths, settings
from pipeline.files import read_json
from pipeline.settings import Phantom

PORT, PEER_PORT = 3777, 3778
ROOT = paths.ROOT
OURS = "pipeline.serving.service:Pneumonia"
ENVIRONMENT = ROOT / ".venv-serve"  # what `make serve` runs in


@dataclass
class Case:
    """What is served: a root folder with a champion, the same network for Keras, images, and words for all three."""

    root: Path
    keras: Path | None
    images: list[bytes]
    side: int
    words: str

    @property
    def facts(self) -> dict[str, Any]:
        """What was measured, for the record."""
        return {"network": self.words, "pictures": described(self.images), "cores": os.cpu_count()}


def described(images: list[bytes]) -> dict[str, float]:
    """How many images, their median size in kilobytes and in megapixels."""
    sizes = []
    for image in images:
        with Image.open(io.BytesIO(image)) as image:
            sizes.append(image.width * image.height / 1e6)
    weights = [len(image) / 1000 for image in images]
    return {
        "count": len(images),
        "kilobytes": round(statistics.median(weights), 1),
        "megapixels": round(statistics.median(sizes), 3),
    }


def interpreter(target: str = OURS) -> Path:
    """The Python that a server runs in: ours in the environment of `make serve`, where it is there."""
    python = ENVIRONMENT / "bin" / "python"
    return python if target == OURS and python.exists() else Path(sys.executable)


@contextlib.contextmanager
def prepared(peer: bool) -> Iterator[Case]:
    """A scratch root with the champion, or with an untrained network."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        shutil.copy(ROOT / "params.yaml", root)
        images, source = _images(root)
        if paths.CHAMPION.exists():
            version = paths.CHAMPION.read_text().strip()
            shutil.copytree(paths.CHAMPIONS / version, root / "models" / "champions" / version)
            (root / "models" / "CHAMPION").write_text(version)
            contract = read_json(paths.CHAMPIONS / version / "contract.json")
            network, side, words = contract["network"], contract["input"]["shape"][1], f"champion {version}"
        else:
            network, side = os.environ.get("NETWORK", "xception"), settings.load().preprocess.image_size
            words = f"{network} at {side} pixels, untrained"
        twin = root / "twin.keras" if peer else None
        if peer or not paths.CHAMPION.exists():
            _build(root, network, side, twin)
        yield Case(root, twin, images, side, words + source)


def images_of(variable: str) -> list[bytes]:
    """About 200 images of the folder that an environment variable names; none where it is not set."""
    if not (source := os.environ.get(variable)):
        return []
    files = sorted(Path(source).rglob("*.jpeg"))
    return [path.read_bytes() for path in files[:: max(1, len(files) // 200)]]


def _images(root: Path) -> tuple[list[bytes], str]:
    if real := images_of("CXR_DATA"):
        return real, ""
    from pipeline.data.phantom import generate

    generate(Phantom(seed=0, train=200, val=2, test=2), root / "phantoms")
    return [path.read_bytes() for path in sorted((root / "phantoms").rglob("*.jpeg"))], ", phantoms for images"


def _build(root: Path, network: str, side: int, twin: Path | None) -> None:
    """An untrained network as a Keras file, and as a champion where there is none; in a process of its own."""
    script = f"""
import sys, json, numpy as np, onnx, keras
from pathlib import Path
from pipeline.learning.networks import head
from pipeline.learning.export import calibrate, to_onnx
keras.utils.set_random_seed(0)
model = head.build({network!r}, {side})
root, twin = Path({str(root)!r}), {str(twin) if twin else None!r}
if twin:
    model.save(twin)
if not (root / "models" / "CHAMPION").exists():
    from benchmarks.support.champion import write
    write(root, calibrate(to_onnx(model, "float16"), 0.0, 1.0), {network!r}, {side})
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def server(case: Case, port: int, target: str = OURS, code: Path = ROOT, **more: str) -> Iterator[int]:
    """A server of `case` on `port`, with the code below `code`; yields its process id once it is ready."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "SERVE_METRICS_FOLDER"},
        "PIPELINE_ROOT": str(case.root),
        "SERVE_OUT_OF_DISTRIBUTION": "warn",
        "PEER_NETWORK": str(case.keras),
        "PYTHONPATH": str(code),
        **more,
    }
    with (case.root / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [interpreter(target), "-m", "bentoml", "serve", target, "--port", str(port)],
            cwd=code,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(6000):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=60).status_code == 200:
                    break
            if process.poll() is not None:
                sys.exit((case.root / f"{port}.log").read_text())
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def workers(parent: int) -> list[int]:
    """Process ids of a server's workers."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "worker.service" in line]


def resident(parent: int) -> float:
    """Megabytes that the workers hold together."""
    total = 0
    for worker in workers(parent):
        lines = Path(f"/proc/{worker}/status").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return total / 1024


def family(process: int) -> list[int]:
    """A process and all below it."""
    processes = [process]
    for thread in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (thread / "children").read_text().split():
                processes += family(int(child))
    return processes


def memory(processes: list[int]) -> float:
    """Megabytes that processes hold together: data that forks share counted once, pages of files for each of them."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError, ValueError):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
            held = {name: int(size) for name, size, _ in (line.replace(":", "").split() for line in lines)}
            total += held["Pss_Anon"] + held["Rss"] - held["Anonymous"]
    return total / 1024
