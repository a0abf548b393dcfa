"""The service under load and faults, beside the plain way of serving the same network.

    python -m benchmarks.serving             all of it, in turn:
    python -m benchmarks.serving speed       requests a second and latency, ours and the peer's (benchmarks/peer.py)
    python -m benchmarks.serving load        10,000 good and bad requests at 32 clients
    python -m benchmarks.serving fuzz        mutated JPEG, PNG and DICOM, then schemathesis on the OpenAPI document
    python -m benchmarks.serving kill        kill -9 of one of two workers under load
    python -m benchmarks.serving start       from the command to the first ready answer, and what an image would hold

Serves the champion, in the environment of `make serve` where that is there; without a champion, an untrained network of
NETWORK (default xception), which is as fast as a trained one. Pictures are those of CXR_DATA, else phantoms; `speed` is
measured a second time with those of CXR_ORIGINALS. With KEEP=1 what was found goes to benchmarks/serving.json, from which
`python -m benchmarks.serving_document` writes the tables of docs/serving.md.
"""

import io
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.clients import Outcome, request, send_all
from benchmarks.servers import PEER_PORT, PORT, ROOT, Case, described, pictures_of, prepared, resident, server, workers
from pipeline.files import write_json
from pipeline.serving import uploads
from pipeline.serving.containers import PNG_SIGNATURE

CLIENTS = (1, 4, 16, 32)
REQUESTS = int(os.environ.get("REQUESTS", "0"))  # 0: as many as the figures in the documents are of
LIMITS = uploads.Limits(max_pixels=20_000_000, max_frames=1)
KEPT = ROOT / "benchmarks" / "serving.json"
Facts = dict[str, Any]


def speed() -> Facts:
    """Ours and the peer's in turn, with the same client and pictures; then our answers without and with the map."""
    with prepared(peer=True) as case:
        sets = [{"pictures": described(some), "lines": []} for some in _sets(case)]
        for count in (1, 2):
            with server(case, PEER_PORT, "benchmarks.peer:Peer", PEER_WORKERS=str(count)):
                for facts, pictures in zip(sets, _sets(case), strict=True):
                    facts["lines"] += _rates(f"the plain way, workers: {count}", PEER_PORT, pictures, REQUESTS or 120)
        for facts, pictures in zip(sets, _sets(case), strict=True):
            plain = max(line["rate"] for line in facts["lines"])
            with server(case, PORT):
                lines = _rates("ours", PORT, pictures, REQUESTS or 1500)
                facts["map_adds"] = round(_map(pictures), 3)
            facts["lines"] += lines
            facts["times"] = round(max(line["rate"] for line in lines) / plain, 1)
            facts["median"] = next(line["median"] for line in lines if line["clients"] == 1)
            print(
                f"times the plain way {facts['times']}, median {facts['median']} ms, map adds {facts['map_adds']:.1%}"
            )
        return {"network": case.words, "cores": os.cpu_count(), "sets": sets}


def _sets(case: Case) -> list[list[bytes]]:
    return [some for some in (case.pictures, pictures_of("CXR_ORIGINALS")) if some]


def _rates(name: str, port: int, pictures: list[bytes], count: int) -> list[Facts]:
    """Requests a second, median and 95th percentile in milliseconds, at each number of clients."""
    told = [request(pictures[place % len(pictures)]) for place in range(count)]
    send_all(port, told[:40], 4)  # warm
    lines = []
    for clients in CLIENTS:
        outcome = send_all(port, told, clients)
        if {status for _, status, _, _ in outcome.answers} != {200} or outcome.broken:
            sys.exit(f"{name}: not every picture was answered")
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


def _map(pictures: list[bytes]) -> float:
    """What the map adds to the median at one client, each picture asked about both ways in turn."""
    both = [request(picture, route) for picture in pictures for route in ("/predict", "/explain")] * 3
    outcome = send_all(PORT, both, 1)
    plain, mapped = (
        statistics.median(seconds for number, _, _, seconds in outcome.answers if number % 2 == odd) for odd in (0, 1)
    )
    return mapped / plain - 1


def load() -> Facts:
    """Good and bad requests mixed; statuses, answers and memory are checked."""
    from tests.film_fixture import hostile

    count = REQUESTS or 10_000
    part = min(1000, count // 3)
    bad = [(data, status) for data, status in hostile().values() if len(data) < 200_000]
    with prepared(peer=False) as case, server(case, PORT) as parent:
        good = case.pictures + _retold(case)
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
            abs(body["probability"] - plan[number][1])
            for number, status, body, _ in outcome.answers
            if status == 200 and plan[number][1] is not None
        ]
        first, last = (statistics.mean(some) for some in memory)
        return case.facts | {
            "sent": count,
            "answered": len(outcome.answers),
            "rate": round(len(outcome.answers) / outcome.seconds),
            "statuses": _counted(status for _, status, _, _ in outcome.answers),
            "unexpected": sum(status != plan[number][2] for number, status, *_ in outcome.answers),
            "compared": len(off),
            "largest_distance": float(f"{max(off):.1e}"),
            "first_megabytes": round(first),
            "last_megabytes": round(last),
            "growth": round(last / first - 1, 3),
        }


def _retold(case: Case) -> list[bytes]:
    """Some of the pictures as PNG, TIFF and DICOM."""
    from tests.film_fixture import encoded, film

    told = []
    for picture in case.pictures[::10]:
        grey = Image.open(io.BytesIO(picture)).convert("L")
        told += [encoded(grey, "PNG"), encoded(grey, "TIFF"), film(np.asarray(grey))]
    return told


def _offline(case: Case, pictures: Sequence[bytes]) -> list[float]:
    """What the champion says of pictures without a server."""
    from pipeline.registry.graph import Graph

    version = (case.root / "models" / "CHAMPION").read_text().strip()
    pixels = np.stack([uploads.read(picture, case.side, LIMITS).pixels for picture in pictures])
    return Graph(case.root / "models" / "champions" / version / "model.onnx").answer(pixels).probabilities.tolist()


def fuzz() -> Facts:
    """Mutated files: no 5xx and no hang; then schemathesis."""
    count = REQUESTS or 12_000
    seeds = _seeds()
    draw = random.Random(0)
    kinds = [draw.choice(sorted(seeds)) for _ in range(count)]
    with prepared(peer=False) as case, server(case, PORT) as parent:
        before = workers(parent)
        outcome = send_all(PORT, [request(_mutated(seeds[kind], draw)) for kind in kinds], 8)
        schema = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{PORT}/docs.json"),
                *("--checks", "not_a_server_error", "--max-examples", "100", "--seed", "1", "--no-color"),
                *("--request-timeout", "30", "--suppress-health-check", "all"),
            ],
            check=False,
            cwd=case.root,
            capture_output=True,
            text=True,
        )
        print(schema.stdout[-3000:], schema.stderr[-1000:])
        cases = re.search(r"(\d+) generated", schema.stdout)
        return case.facts | {
            "sent": count,
            "lost": len(outcome.broken),
            "workers_lost": len(set(before) - set(workers(parent))),
            "slowest_milliseconds": round(1000 * max(seconds for *_, seconds in outcome.answers)),
            "statuses": {
                kind: _counted(status for number, status, *_ in outcome.answers if kinds[number] == kind)
                for kind in sorted(seeds)
            },
            "schemathesis": {"cases": int(cases[1]) if cases else None, "passed": schema.returncode == 0},
        }


def _seeds() -> dict[str, bytes]:
    """A small good file of each kind and, for DICOM, of each decoder."""
    from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

    from tests.film_fixture import encoded, film, scene

    picture = scene(90, 110)
    return {
        **{kind: encoded(picture, kind) for kind in ("JPEG", "PNG", "TIFF")},
        "DICOM": film(picture),
        "DICOM, JPEG": film(picture, JPEGBaseline8Bit, stream=encoded(picture)),
        "DICOM, JPEG 2000": film(picture, JPEG2000Lossless),
    }


def _mutated(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 2, 8, 40))):
        place = draw.randrange(len(changed))
        match draw.randrange(4):
            case 0:
                changed[place] = draw.randrange(256)
            case 1:
                del changed[place : place + draw.randrange(1, 50)]
            case 2:
                changed[place:place] = draw.randbytes(draw.randrange(1, 50))
            case 3:
                changed[place : place + 4] = draw.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
        changed = changed or bytearray(b"\0")
    return _summed(bytes(changed)) if draw.random() < 0.5 else bytes(changed)


def _summed(data: bytes) -> bytes:
    """A PNG with right check sums, so that what was changed inside reaches the decoder; other files as they are."""
    if not data.startswith(PNG_SIGNATURE):
        return data
    place, told = len(PNG_SIGNATURE), PNG_SIGNATURE
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        content = data[place + 4 : end]
        told += data[place : place + 4] + content + zlib.crc32(content).to_bytes(4, "big")
        place = end + 4
    return told + data[place:]


def kill() -> Facts:
    """One of two workers dies under load."""
    count = REQUESTS or 6_000
    clients = 8
    with prepared(peer=False) as case, server(case, PORT, SERVE_WORKERS="2") as parent:
        log = case.root / f"{PORT}.log"
        while log.read_text().count(" answers, on ") < 2:
            time.sleep(0.1)
        old = workers(parent)
        told = [request(case.pictures[place % len(case.pictures)]) for place in range(count)]
        when: dict[str, float] = {}

        def strike() -> None:
            time.sleep(2)
            loaded = log.read_text().count(" answers, on ")
            os.kill(old[0], signal.SIGKILL)
            when["killed"] = time.monotonic()
            while log.read_text().count(" answers, on ") == loaded:
                time.sleep(0.05)
            when["back"] = time.monotonic()

        striker = threading.Thread(target=strike)
        striker.start()
        outcome = Outcome()
        while striker.is_alive():
            part = send_all(PORT, told, clients)
            outcome.answers += part.answers
            outcome.broken += part.broken
        return case.facts | {
            "clients": clients,
            "statuses": _counted(status for _, status, _, _ in outcome.answers),
            "lost": len(outcome.broken),
            "last_loss_seconds": round(max((at - when["killed"] for _, at in outcome.broken), default=0.0), 2),
            "back_seconds": round(when["back"] - when["killed"], 1),
        }


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


def _counted(statuses: Any) -> dict[str, int]:
    return {str(status): number for status, number in sorted(Counter(statuses).items())}


def main() -> None:
    """Measure what is asked for, print it, and keep it with KEEP=1."""
    known = {"speed": speed, "load": load, "fuzz": fuzz, "kill": kill, "start": start}
    for name in sys.argv[1:] or known:
        facts = known[name]()
        print(f"{name}: {json.dumps(facts, indent=1)}")
        if os.environ.get("KEEP") == "1":
            kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
            write_json(KEPT, kept | {name: facts})


if __name__ == "__main__":
    main()
