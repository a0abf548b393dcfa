"""The service, measured over HTTP beside the plain way of serving the same network.

    python -m benchmarks.serving             all of it, in turn:
    python -m benchmarks.serving speed       requests a second and latency, ours and the peer's (benchmarks/support/peer.py)
    python -m benchmarks.serving load        10,000 good and bad requests at 32 clients
    python -m benchmarks.serving start       from the command to the first ready answer, and what an image would hold

Serves the champion, in the environment of `make serve` where that is there; without a champion, an untrained network of
NETWORK (default xception), which is as fast as a trained one. Images are those of CXR_DATA, else phantoms; `speed` is
measured a second time with those of CXR_ORIGINALS. What was found goes to benchmarks/serving.json, from which
`python -m benchmarks.serving_document` writes the tables of docs/serving.md; with REQUESTS=n, a short try, nothing is kept.
Exit status 1 past a limit; what was measured is kept either way.
"""

import io
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.support.clients import request, send_all
from benchmarks.support.parts import REQUESTS, Facts, Part, counted, measure
from benchmarks.support.servers import PEER_PORT, PORT, ROOT, Case, described, images_of, prepared, resident, server
from pipeline.serving import uploads

CLIENTS = (1, 4, 16, 32)
LIMITS = uploads.Limits(max_pixels=20_000_000, max_frames=1)
TIMES, MEDIAN, MAP_ADDS = 3.5, 15.0, 0.2  # at least so often the plain way's rate; milliseconds; share of the median
DISTANCE, GROWTH = 1e-3, 0.1  # between service and offline prediction; of the workers' memory over the whole load
START, SIZE = 8.0, 700.0  # seconds; megabytes of environment and bundle together


def speed() -> Facts:
    """Ours and the peer's in turn, with the same client and images; then our answers without and with the map."""
    with prepared(peer=True) as case:
        sets = [{"pictures": described(some), "lines": []} for some in _sets(case)]
        for count in (1, 2):
            with server(case, PEER_PORT, "benchmarks.support.peer:Peer", PEER_WORKERS=str(count)):
                for facts, images in zip(sets, _sets(case), strict=True):
                    facts["lines"] += _rates(f"the plain way, workers: {count}", PEER_PORT, images, REQUESTS or 120)
        for facts, images in zip(sets, _sets(case), strict=True):
            plain = max(line["rate"] for line in facts["lines"])
            with server(case, PORT):
                lines = _rates("ours", PORT, images, REQUESTS or 1500)
                facts["map_adds"] = round(_map(images), 3)
            facts["lines"] += lines
            facts["times"] = round(max(line["rate"] for line in lines) / plain, 1)
            facts["median"] = next(line["median"] for line in lines if line["clients"] == 1)
            print(
                f"times the plain way {facts['times']}, median {facts['median']} ms, map adds {facts['map_adds']:.1%}"
            )
        return {"network": case.words, "cores": os.cpu_count(), "sets": sets}


def _sets(case: Case) -> list[list[bytes]]:
    return [some for some in (case.images, images_of("CXR_ORIGINALS")) if some]


def _rates(name: str, port: int, images: list[bytes], count: int) -> list[Facts]:
    """Requests a second, median and 95th percentile in milliseconds, at each number of clients."""
    told = [request(images[place % len(images)]) for place in range(count)]
    send_all(port, told[:40], 4)  # warm
    lines = []
    for clients in CLIENTS:
        outcome = send_all(port, told, clients)
        if {status for _, status, _, _ in outcome.answers} != {200} or outcome.broken:
            sys.exit(f"{name}: not every image was answered")
        times = sorted(1000 * seconds for *_, seconds in outcome.answers)
        line = {
            "by": name,
            "clients": clients,
            "rate": round(len(times) / outcome.seconds, 1),
            "median": round(statistics.median(times), 1),
            "late": round(times[int(0.95 * len(times))], 1),
        }
        print(line)
        lines.append(line)
    return lines


def _map(images: list[bytes]) -> float:
    """What the map adds to the median at one client, each image asked about both ways in turn."""
    both = [request(image, route) for image in images for route in ("/predict", "/explain")] * 3
    outcome = send_all(PORT, both, 1)
    plain, mapped = (
        statistics.median(seconds for number, _, _, seconds in outcome.answers if number % 2 == odd) for odd in (0, 1)
    )
    return mapped / plain - 1


def load() -> Facts:
    """Good and bad requests mixed; statuses, answers and memory are checked."""
    from tests.image_fixture import hostile

    count = REQUESTS or 10_000
    part = min(1000, count // 3)
    bad = [(data, status) for data, status in hostile().values() if len(data) < 200_000]
    with prepared(peer=False) as case, server(case, PORT) as parent:
        good = case.images + _retold(case)
        expected = _offline(case, good)
        draw = random.Random(0)
        plan: list[tuple[bytes, float | None, int]] = []
        for _ in range(count):
            if draw.random() < 0.3:
                data, status = draw.choice(bad)
                plan.append((request(data), None, status))
            else:
                place = draw.randrange(len(good))
                plan.append((request(good[place]), expected[place], 200))
        memory: tuple[list[float], list[float]] = ([], [])

        def note(arrived: int) -> None:
            if arrived % 50 == 0 and (arrived <= part or arrived > count - part):
                memory[arrived > part].append(resident(parent))

        outcome = send_all(PORT, [sent for sent, _, _ in plan], 32, note)
        off = [
            abs(body["score"] - plan[number][1])
            for number, status, body, _ in outcome.answers
            if status == 200 and plan[number][1] is not None
        ]
        first, last = (statistics.mean(some) for some in memory)
        return case.facts | {
            "sent": count,
            "answered": len(outcome.answers),
            "rate": round(len(outcome.answers) / outcome.seconds),
            "statuses": counted(status for _, status, _, _ in outcome.answers),
            "unexpected": sum(status != plan[number][2] for number, status, *_ in outcome.answers),
            "compared": len(off),
            "largest_distance": float(f"{max(off):.1e}"),
            "first_megabytes": round(first),
            "last_megabytes": round(last),
            "growth": round(last / first - 1, 3),
        }


def _retold(case: Case) -> list[bytes]:
    """Some of the images as PNG, TIFF and DICOM."""
    from tests.image_fixture import chest_dicom, encoded

    told = []
    for image in case.images[::10]:
        grey = Image.open(io.BytesIO(image)).convert("L")
        told += [encoded(grey, "PNG"), encoded(grey, "TIFF"), chest_dicom(np.asarray(grey))]
    return told


def _offline(case: Case, images: Sequence[bytes]) -> list[float]:
    """What the champion says of images without a server."""
    from pipeline.inference import Graph

    version = (case.root / "models" / "CHAMPION").read_text().strip()
    pixels = np.stack([uploads.read(image, case.side, LIMITS).pixels for image in images])
    return Graph(case.root / "models" / "champions" / version / "model.onnx").answer(pixels).probabilities.tolist()


def start() -> Facts:
    """Seconds from the command to the first 200 of /readyz; megabytes of what an image would hold above its base."""
    seconds = []
    with prepared(peer=False) as case:
        for _ in range(5):
            began = time.monotonic()
            with server(case, PORT):
                seconds.append(round(time.monotonic() - began, 1))
        busy = round(os.getloadavg()[0], 1)  # what else the machine did
        return case.facts | {"seconds": seconds, "load_average": busy, "megabytes": _sizes()}


def _sizes() -> Facts:
    """Megabytes of the environment, made as docker/service.Dockerfile makes it, and of what `bentoml build` packs."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        uv = shutil.which("uv") or str(ROOT / ".venv" / "bin" / "uv")
        install = ["pip", "install", "--quiet", "--compile-bytecode", "--link-mode", "copy", "--require-hashes"]
        subprocess.run([uv, "venv", "--quiet", place / "serve"], check=True)
        subprocess.run(
            [uv, *install, "--python", place / "serve", "-r", "requirements/serve.txt"], check=True, cwd=ROOT
        )
        home = {"BENTOML_HOME": str(place / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
        build = [sys.executable, "-m", "bentoml", "build"]
        subprocess.run(build, check=True, cwd=ROOT, env={**os.environ, **home}, capture_output=True)
        return {"environment": _megabytes(place / "serve"), "bundle": _megabytes(place / "bentoml" / "bentos")}


def _megabytes(folder: Path) -> float:
    held = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return round(sum(path.stat().st_size for path in held) / 1e6, 1)


def main() -> None:
    """Measure what is asked for."""
    measure(
        {
            "speed": Part(
                speed,
                lambda facts: {
                    f"{TIMES} times the plain way": all(part["times"] >= TIMES for part in facts["sets"]),
                    f"a median of {MEDIAN} ms": all(part["median"] < MEDIAN for part in facts["sets"]),
                    f"a map for {MAP_ADDS:.0%} of the median": all(
                        part["map_adds"] < MAP_ADDS for part in facts["sets"]
                    ),
                },
            ),
            "load": Part(
                load,
                lambda facts: {
                    "every request answered": facts["answered"] == facts["sent"],
                    "every status as the file should get": facts["unexpected"] == 0,
                    f"answers within {DISTANCE} of the prediction": facts["largest_distance"] < DISTANCE,
                    f"memory within {GROWTH:.0%}": abs(facts["growth"]) < GROWTH,
                },
            ),
            "start": Part(
                start,
                lambda facts: {
                    f"ready within {START} s": max(facts["seconds"]) < START,
                    f"less than {SIZE} MB": sum(facts["megabytes"].values()) < SIZE,
                },
            ),
        }
    )


if __name__ == "__main__":
    main()
