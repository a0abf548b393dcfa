"""How fast the reader and the service are beside those of release 0.1.0, both in turn."""

import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support import release
from benchmarks.support.clients import Connection, request
from benchmarks.support.servers import OURS, Case, prepared, server
from pipeline import paths

OLD_PORT, NEW_PORT = 3791, 3792
TIMED = ("chest_xray, test", "originals", "dicom")
ROUNDS, WARM = 600, 30  # requests of each service; the first ones do not count
Facts = dict[str, Any]


def speed(sets: Mapping[str, list[Path]], side: int) -> Facts:
    """Files and services of both releases in turn, so that whatever else the machine does meets both alike."""
    chosen = {name: files[:: max(1, len(files) // 120)] for name, files in sets.items() if name in TIMED}
    facts: Facts = {"cores": os.cpu_count(), "decoding": {}, "service": {}}
    with release.unpacked() as old:
        readers = {"old": release.Reader(old), "new": release.Reader(paths.ROOT)}
        for name, files in chosen.items():
            facts["decoding"][name] = _decoding(readers, files, side)
        for reader in readers.values():
            reader.close()
        facts["service"] = _services(old, chosen)
    return facts


def _decoding(readers: Mapping[str, release.Reader], files: list[Path], side: int) -> Facts:
    seconds: dict[str, list[float]] = {"old": [], "new": []}
    for path in files:
        took = {name: reader.seconds(path, side, 7) for name, reader in readers.items()}
        if all(np.isfinite(value) for value in took.values()):
            for name, value in took.items():
                seconds[name].append(value)
    ratios = [new / old for old, new in zip(seconds["old"], seconds["new"], strict=True)]
    return {
        "files": len(ratios),
        "milliseconds": {name: round(1000 * statistics.median(values), 3) for name, values in seconds.items()},
        "ratio": round(statistics.median(ratios), 3),
    }


def _services(old: Path, chosen: Mapping[str, list[Path]]) -> Facts:
    facts = {}
    with prepared(peer=False) as case:
        earlier = Case(old, None, case.images, case.side, case.words)  # its champion; it cannot read later ones
        with server(earlier, OLD_PORT, OURS, old), server(case, NEW_PORT):
            for name, files in chosen.items():
                facts[name] = _latency([path.read_bytes() for path in files])
    return facts


def _latency(images: list[bytes]) -> Facts:
    connections = {port: Connection(port) for port in (OLD_PORT, NEW_PORT)}
    took: dict[int, list[float]] = {port: [] for port in connections}
    for number in range(ROUNDS):
        sent = request(images[number % len(images)])
        for port, connection in connections.items():
            started = time.perf_counter()
            status, _ = connection.send(sent)
            if number >= WARM and status == 200:
                took[port].append(time.perf_counter() - started)
    for connection in connections.values():
        connection.close()
    old, new = (1000 * statistics.median(took[port]) for port in (OLD_PORT, NEW_PORT))
    return {"milliseconds": {"old": round(old, 2), "new": round(new, 2)}, "ratio": round(new / old, 3)}
