"""The service under load and faults, beside the plain way of serving the same network.

    python -m benchmarks.serving speed      requests a second and latency, ours and the peer's (benchmarks/peer.py)
    python -m benchmarks.serving load       10,000 good and bad requests at 32 clients
    python -m benchmarks.serving fuzz       mutated JPEG, PNG and DICOM, then schemathesis on the OpenAPI document
    python -m benchmarks.serving kill       kill -9 of one of two workers under load

Serves the champion; without one, an untrained network of NETWORK (default xception), which is as fast as a trained one.
Pictures are those of CXR_DATA, else phantoms. Each run says what it used.
"""

import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.clients import Outcome, request, send_all
from benchmarks.servers import PEER_PORT, PORT, Case, prepared, resident, server, workers
from pipeline.serving import uploads

CLIENTS = (1, 4, 16, 32)
REQUESTS = int(os.environ.get("REQUESTS", "0"))  # 0: as many as the issue asks for


def offline(case: Case, pictures: Sequence[bytes]) -> list[float]:
    """What the champion says of pictures without a server."""
    from pipeline.registry.graph import Graph

    version = (case.root / "models" / "CHAMPION").read_text().strip()
    limits = uploads.Limits(max_pixels=20_000_000, max_frames=1)
    pixels = np.stack([uploads.read(picture, case.side, limits).pixels for picture in pictures])
    return Graph(case.root / "models" / "champions" / version / "model.onnx").answer(pixels).probabilities.tolist()


def speed() -> None:
    """Ours and the peer's in turn, with the same client and pictures; then our answers without and with the map."""
    with prepared(peer=True) as case:
        print(f"{case.words}\n")
        print("| served by | clients | requests a second | median ms | 95th percentile ms |\n|---|---|---|---|---|")
        with server(case, PEER_PORT, "benchmarks.peer:Peer"):
            theirs, _ = _rates("the plain way", PEER_PORT, case, REQUESTS or 400)
        with server(case, PORT):
            ours, median = _rates("ours", PORT, case, REQUESTS or 1500)
            both = [request(picture, route) for picture in case.pictures for route in ("/predict", "/explain")]
            outcome = send_all(PORT, both, 1)
        plain, mapped = (
            statistics.median(seconds for number, _, _, seconds in outcome.answers if number % 2 == odd)
            for odd in (0, 1)
        )
        print(f"\nours against the plain way: {ours / theirs:.1f} times the requests a second (asked: 3.5)")
        print(f"median at one client: {median:.1f} ms (asked: 15); the map adds {mapped / plain - 1:.0%} (asked: 20 %)")


def _rates(name: str, port: int, case: Case, count: int) -> tuple[float, float]:
    """Print a line for each number of clients; the best requests a second, and the median milliseconds at one client."""
    told = [request(case.pictures[place % len(case.pictures)]) for place in range(count)]
    send_all(port, told[:50], 4)  # warm
    best, single = 0.0, 0.0
    for clients in CLIENTS:
        outcome = send_all(port, told, clients)
        if {status for _, status, _, _ in outcome.answers} != {200} or outcome.broken:
            sys.exit(f"{name}: not every picture was answered")
        times = sorted(1000 * seconds for *_, seconds in outcome.answers)
        rate, middle, late = len(times) / outcome.seconds, statistics.median(times), times[int(0.95 * len(times))]
        best, single = max(best, rate), single or middle
        print(f"| {name} | {clients} | {rate:.1f} | {middle:.1f} | {late:.1f} |")
    return best, single


def load() -> None:
    """Good and bad requests mixed; statuses, answers and memory are checked."""
    from tests.film_fixture import hostile

    count = REQUESTS or 10_000
    bad = [(name, data, status) for name, (data, status) in hostile().items() if len(data) < 200_000]
    with prepared(peer=False) as case, server(case, PORT) as parent:
        expected = offline(case, case.pictures)
        draw = random.Random(0)
        plan: list[tuple[bytes, int | None, int]] = []
        for _ in range(count):
            if draw.random() < 0.3:
                _, data, status = draw.choice(bad)
                plan.append((request(data), None, status))
            else:
                place = draw.randrange(len(case.pictures))
                plan.append((request(case.pictures[place]), place, 200))
        memory: dict[int, float] = {}

        def note(arrived: int) -> None:
            if arrived in (min(1000, count // 2), count - len(case.pictures) // 20):
                memory[arrived] = resident(parent)

        outcome = send_all(PORT, [sent for sent, _, _ in plan], 32, note)
        wrong_status = sum(status != plan[number][2] for number, status, *_ in outcome.answers)
        off = [
            abs(body["probability"] - expected[place])
            for number, status, body, _ in outcome.answers
            if status == 200 and (place := plan[number][1]) is not None
        ]
        first, last = list(memory.values())
        print(f"{case.words}\n")
        print("| what | found | asked |\n|---|---|---|")
        print(f"| requests answered at 32 clients | {len(outcome.answers)} of {count} | all |")
        print(f"| requests a second | {len(outcome.answers) / outcome.seconds:.0f} | |")
        print(f"| statuses | {dict(sorted(Counter(status for _, status, _, _ in outcome.answers).items()))} | no 5xx |")
        print(f"| answers of another status than expected | {wrong_status} | 0 |")
        print(f"| largest distance from the offline prediction | {max(off):.1e} | 1e-3 |")
        print(
            f"| memory of the workers, first thousand to last | {first:.0f} to {last:.0f} MB ({last / first - 1:+.1%}) | 10 % |"
        )


def fuzz() -> None:
    """Mutated files: no 5xx and no hang; then schemathesis."""
    from tests.film_fixture import encoded, film, scene

    count = REQUESTS or 5_000
    seeds = {"JPEG": encoded(scene(90, 110)), "PNG": encoded(scene(90, 110), "PNG"), "DICOM": film(scene(90, 110))}
    draw = random.Random(0)
    kinds = [draw.choice(sorted(seeds)) for _ in range(count)]
    with prepared(peer=False) as case, server(case, PORT) as parent:
        before = workers(parent)
        outcome = send_all(PORT, [request(_mutated(seeds[kind], draw)) for kind in kinds], 8)
        statuses = Counter((kinds[number], status) for number, status, *_ in outcome.answers)
        lost = len(outcome.broken)
        slowest = max(seconds for *_, seconds in outcome.answers)
        replaced = len(set(before) - set(workers(parent)))
        print(f"{case.words}\n\n| file | answers by status |\n|---|---|")
        for kind in sorted(seeds):
            found = {status: number for (of, status), number in sorted(statuses.items()) if of == kind}
            print(f"| {kind} | {found} |")
        print(
            f"\n{count} sent, {lost} without an answer, {replaced} workers lost, slowest answer {1000 * slowest:.0f} ms"
        )
        subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{PORT}/docs.json"),
                *("--checks", "not_a_server_error", "--max-examples", "50", "--seed", "1", "--no-color"),
                *("--request-timeout", "30", "--suppress-health-check", "all"),
            ],
            check=True,
            cwd=case.root,
        )
        if lost or any(status >= 500 for _, status in statuses):
            sys.exit("a request was lost or failed")


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
    return bytes(changed)


def kill() -> None:
    """One of two workers dies under load."""
    count = REQUESTS or 6_000
    clients = 8
    with prepared(peer=False) as case, server(case, PORT, SERVE_WORKERS="2") as parent:
        while len(old := workers(parent)) < 2:
            time.sleep(0.1)
        told = [request(case.pictures[i % len(case.pictures)]) for i in range(count)]
        facts: dict[str, Any] = {}

        def strike() -> None:
            time.sleep(2)
            os.kill(old[0], signal.SIGKILL)
            facts["killed"] = time.monotonic()
            log = case.root / f"{PORT}.log"
            loaded = log.read_text().count(" answers, on ")
            while log.read_text().count(" answers, on ") == loaded:
                time.sleep(0.05)
            facts["back"] = time.monotonic()

        striker = threading.Thread(target=strike)
        striker.start()
        outcome = Outcome()
        while striker.is_alive():
            part = send_all(PORT, told, clients)
            outcome.answers += part.answers
            outcome.broken += part.broken
        print(f"{case.words}\n\n| what | found | asked |\n|---|---|---|")
        print(
            f"| statuses of {len(outcome.answers)} answers | {dict(Counter(s for _, s, _, _ in outcome.answers))} | 200 alone |"
        )
        print(f"| requests lost at {clients} clients | {len(outcome.broken)} | those in flight |")
        late = max((when - facts["killed"] for _, when in outcome.broken), default=0.0)
        print(f"| last loss after the kill | {late:.2f} s | |")
        print(f"| the killed worker answers again after | {facts['back'] - facts['killed']:.1f} s | 20 s |")


if __name__ == "__main__":
    {"speed": speed, "load": load, "fuzz": fuzz, "kill": kill}[sys.argv[1]]()
