"""What breaks the service, and what does not: files that were tampered with or cost much, clients, a worker that dies.

    python -m benchmarks.serving_faults             all of it, in turn:
    python -m benchmarks.serving_faults fuzz        mutated JPEG, PNG, TIFF and DICOM, then schemathesis on the OpenAPI document
    python -m benchmarks.serving_faults kill        kill -9 of one of two workers under load
    python -m benchmarks.serving_faults costly      small uploads that would cost much, 64 at once
    python -m benchmarks.serving_faults clients     slow uploads, readers that do not read, 500 idle connections; then the end

Serves and keeps as benchmarks/serving.py does, REQUESTS and the exit status included.
"""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

from benchmarks.support.clients import Connection, Outcome, request, send_all
from benchmarks.support.parts import REQUESTS, Facts, Part, counted, measure
from benchmarks.support.servers import PORT, family, memory, prepared, server, workers
from pipeline.decoding.signatures import PNG_START

BACK = 20.0  # seconds until a killed worker answers again
ROUTES = ("/predict", "/explain", "/picture")
TOGETHER, PEAK, AFTER = (
    64,
    1000,
    1.2,
)  # uploads at once; megabytes of a worker and its processes; of what it held before
HELD, UNENDED, STOP = 560, 60, 8.0  # connections that are held open, those of them inside a request; seconds


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
                kind: counted(status for number, status, *_ in outcome.answers if kinds[number] == kind)
                for kind in sorted(seeds)
            },
            "schemathesis": {"cases": int(cases[1]) if cases else None, "passed": schema.returncode == 0},
        }


def _seeds() -> dict[str, bytes]:
    """A small good file of each kind and, for DICOM, of each decoder."""
    from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

    from tests.image_fixture import chest_dicom, encoded, scene

    image = scene(90, 110)
    return {
        **{kind: encoded(image, kind) for kind in ("JPEG", "PNG", "TIFF")},
        "DICOM": chest_dicom(image),
        "DICOM, JPEG": chest_dicom(image, JPEGBaseline8Bit, stream=encoded(image)),
        "DICOM, JPEG 2000": chest_dicom(image, JPEG2000Lossless),
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
    if not data.startswith(PNG_START):
        return data
    place, told = len(PNG_START), PNG_START
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
        told = [request(case.images[place % len(case.images)]) for place in range(count)]
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
            "statuses": counted(status for _, status, _, _ in outcome.answers),
            "lost": len(outcome.broken),
            "last_loss_seconds": round(max((at - when["killed"] for _, at in outcome.broken), default=0.0), 2),
            "back_seconds": round(when["back"] - when["killed"], 1),
        }


class Watch:
    """While others attack: a client that asks, one image after another, and what a worker and its processes hold."""

    def __init__(self, port: int, worker: int, image: bytes) -> None:
        self.statuses: list[int] = []
        self.slowest = self.peak = 0.0
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(port, request(image))),
            threading.Thread(target=self._weigh, args=(worker,)),
        ]

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, port: int, told: bytes) -> None:
        connection = Connection(port)
        while not self._ended.wait(0.1):
            began = time.monotonic()
            try:
                self.statuses.append(connection.send(told)[0])
            except OSError:
                self.statuses.append(0)
            self.slowest = max(self.slowest, time.monotonic() - began)

    def _weigh(self, worker: int) -> None:
        while not self._ended.wait(0.02):
            self.peak = max(self.peak, memory(family(worker)))


def costly() -> Facts:
    """Each kind 64 at once, to every address that takes an upload in turn; one worker, so that nothing is shared out."""
    from tests.costly_fixture import COSTLY

    results: dict[str, Facts] = {}
    alone = {"SERVE_WORKERS": "1", "SERVE_MAX_PER_CLIENT": str(2 * TOGETHER)}
    with prepared(peer=False) as case, server(case, PORT, **alone) as parent:
        (worker,) = workers(parent)
        send_all(PORT, [request(image) for image in case.images], 4)
        start = memory(family(worker))
        for name, made in COSTLY.items():
            data = made()
            told = [request(data, ROUTES[number % len(ROUTES)]) for number in range(REQUESTS or TOGETHER)]
            with Watch(PORT, worker, case.images[0]) as watch:
                outcome = send_all(PORT, told, TOGETHER)
            send_all(PORT, [request(image) for image in case.images[:50]], 4)
            results[name] = {
                "kilobytes": round(len(data) / 1000),
                "statuses": counted(status for _, status, _, _ in outcome.answers),
                "lost": len(outcome.broken),
                "seconds": round(outcome.seconds, 1),
                "others": counted(watch.statuses),
                "others_slowest_seconds": round(watch.slowest, 1),
                "peak_megabytes": round(watch.peak),
                "after_megabytes": round(memory(family(worker))),
            }
            print(name, results[name])
        lost = [worker] != workers(parent)
        return case.facts | {"start_megabytes": round(start), "workers_lost": int(lost), "kinds": results}


def clients() -> Facts:
    """What clients can do without a costly file."""
    alone = {"SERVE_WORKERS": "1", "SERVE_MAX_PER_CLIENT": str(2 * UNENDED)}
    with prepared(peer=False) as case, server(case, PORT, **alone) as parent:
        (worker,) = workers(parent)
        complete = request(case.images[0], "/picture")
        send_all(PORT, [request(image) for image in case.images], 4)
        start = memory(family(worker))
        with contextlib.ExitStack() as stack:
            with Watch(PORT, worker, case.images[0]) as watch:
                _hold(stack, complete)
                outcome = send_all(PORT, [request(image) for image in case.images], 4)
            _hold(stack, complete, UNENDED)  # the first may have been given up by now
            began = time.monotonic()
            os.kill(parent, signal.SIGTERM)
            while _runs(parent):
                time.sleep(0.02)
            stopped = time.monotonic() - began
        return case.facts | {
            "held": HELD,
            "unended": UNENDED,
            "statuses": counted([*(status for _, status, _, _ in outcome.answers), *watch.statuses]),
            "lost": len(outcome.broken),
            "slowest_seconds": round(watch.slowest, 1),
            "start_megabytes": round(start),
            "peak_megabytes": round(watch.peak),
            "stop_seconds": round(stopped, 1),
        }


def _hold(stack: contextlib.ExitStack, complete: bytes, count: int = HELD) -> None:
    """Open connections that stay: some inside a request (half an upload; an answer that nobody reads), the others before."""
    unended, idle = (complete[:-50], complete), (b"", b"GET / HTTP/1.1\r\nX-Slow: ")
    for number in range(count):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", PORT)))
        client.sendall((unended if number < UNENDED else idle)[number % 2])


def _runs(process: int) -> bool:
    """Whether a child of this process has not ended: until somebody asks for its status it is there, as a zombie."""
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def main() -> None:
    """Measure what is asked for."""
    measure(
        {
            "fuzz": Part(
                fuzz,
                lambda facts: {
                    "no 5xx": max(int(status) for kind in facts["statuses"].values() for status in kind) < 500,
                    "every file answered": facts["lost"] == 0,
                    "schemathesis": facts["schemathesis"]["passed"],
                },
            ),
            "kill": Part(
                kill,
                lambda facts: {
                    "every answer a 200": set(facts["statuses"]) == {"200"},
                    "no more lost than were on their way": facts["lost"] <= facts["clients"],
                    f"back within {BACK} s": facts["back_seconds"] < BACK,
                },
            ),
            "costly": Part(
                costly,
                lambda facts: {
                    "no worker lost": facts["workers_lost"] == 0,
                    "every upload answered": all(kind["lost"] == 0 for kind in facts["kinds"].values()),
                    "the others all answered": all(set(kind["others"]) == {"200"} for kind in facts["kinds"].values()),
                    f"at most {PEAK} MB": max(kind["peak_megabytes"] for kind in facts["kinds"].values()) <= PEAK,
                    f"back within {AFTER} of the start": max(
                        kind["after_megabytes"] for kind in facts["kinds"].values()
                    )
                    <= AFTER * facts["start_megabytes"],
                },
            ),
            "clients": Part(
                clients,
                lambda facts: {
                    "every other request answered": set(facts["statuses"]) == {"200"} and facts["lost"] == 0,
                    f"at most {PEAK} MB": facts["peak_megabytes"] <= PEAK,
                    f"ended within {STOP} s": facts["stop_seconds"] < STOP,
                },
            ),
        }
    )


if __name__ == "__main__":
    main()
