"""Two workers, strict limits and a token: a champion changed and a worker killed under load."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest

from tests.champion_fixture import plain_guard, point_at, write_champion
from tests.image_fixture import encoded, scene
from tests.server_fixture import Server, serve

TOKEN = {"Authorization": "Bearer secret"}
FLAT = encoded(np.full((80, 80), 200, np.uint8), "PNG")  # the tiny guard rejects contrast


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("faults")
    write_champion(root, "first", guard=plain_guard(0.0))
    strict = {
        "SERVE_MAX_MEGABYTES": "0.25",
        "SERVE_MAX_PIXELS": "100000",
        "SERVE_MAX_METADATA_MEGABYTES": "0.05",
        "SERVE_PREVALENCE": "0.1",
        "SERVE_OUT_OF_DISTRIBUTION": "refuse",
        "SERVE_TOKEN": "secret",
    }
    with serve(root, SERVE_WORKERS="2", **strict) as running:
        eventually(lambda: len(running.workers()) == 2)
        yield running


def eventually(true: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)


def answering(server: Server) -> dict[str, int]:
    """How many workers answer with each version, as /metrics says."""
    text = server.get("/metrics", headers=TOKEN).text
    workers = re.findall(r'^pneumonia_model_workers\{version="(.+)"\} (\d+)', text, re.MULTILINE)
    return {version: int(count) for version, count in workers if int(count)}


class Load:
    """Four clients that send one image after another until told to stop."""

    def __init__(self, server: Server, clients: int = 4) -> None:
        self.server = server
        self.statuses: list[int] = []
        self.versions: list[str] = []
        self.broken = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        with httpx.Client(timeout=240, headers=TOKEN) as client:
            while not self._stop.is_set():
                try:
                    got = client.post(self.server.url + "/predict", files={"image": ("a", FLAT)})
                except httpx.TransportError:
                    self.broken += 1
                    continue
                self.statuses.append(got.status_code)
                self.versions.append(got.json().get("model_version", ""))


def test_token_is_asked_for(server: Server) -> None:
    assert server.post(FLAT).status_code == 401
    assert server.get("/model").status_code == 401
    assert server.get("/").status_code == 200
    assert server.post(FLAT, headers=TOKEN).status_code == 200


def test_a_large_body_is_cut(server: Server) -> None:
    got = server.post(b"\xff\xd8\xff" + bytes(300_000), headers=TOKEN)
    assert (got.status_code, got.json()["error"]) == (413, "too_large")
    assert got.json()["limit"] == int(0.25 * 2**20)


def test_a_stranger_is_refused_with_its_score(server: Server) -> None:
    got = server.post(encoded(scene(80, 80)), headers=TOKEN)
    assert (got.status_code, got.json()["error"]) == (422, "no_chest_radiograph")
    assert got.json()["score"] > got.json()["limit"]


def test_probability_is_at_the_sites_prevalence(server: Server) -> None:
    told = server.post(FLAT, headers=TOKEN).json()
    network = 1 / (1 + np.exp(-8 * (200 / 255 - 0.5)))
    odds = network / (1 - network) / 9
    assert told["prevalence"] == 0.1
    assert told["probability"] == pytest.approx(odds / (1 + odds), abs=1e-4)
    assert told["score"] == pytest.approx(network, abs=1e-4)  # which the prevalence does not change
    assert told["outcome"] == "signs of pneumonia"


def test_a_new_champion_is_picked_up_without_a_failed_request(server: Server) -> None:
    with Load(server) as load:
        eventually(lambda: len(load.statuses) > 10)
        before = (server.root / "models" / "CHAMPION").read_text().strip()
        version = write_champion(server.root, "second", slope=4, guard=plain_guard(0.0)).name
        eventually(lambda: answering(server) == {version: 2}, seconds=10)  # each worker looks for itself
        eventually(lambda: load.versions[-20:] == [version] * 20)
    assert load.broken == 0
    assert set(load.statuses) == {200}
    assert set(load.versions) <= {before, version}


def test_a_broken_champion_changes_nothing(server: Server) -> None:
    before = server.post(FLAT, headers=TOKEN).json()["model_version"]
    (server.root / "models" / "champions" / "third").mkdir()
    point_at(server.root, "third")
    eventually(lambda: server.log.read_text().count("third/contract.json is missing") == 2)  # once a worker
    assert server.get("/readyz").status_code == 200
    assert server.get("/model", headers=TOKEN).json()["refused"]["version"] == "third"
    assert server.post(FLAT, headers=TOKEN).json()["model_version"] == before
    eventually(lambda: "\npneumonia_champion_refused 1.0\n" in server.get("/metrics", headers=TOKEN).text)
    point_at(server.root, before)
    eventually(lambda: "\npneumonia_champion_refused 0.0\n" in server.get("/metrics", headers=TOKEN).text)


def test_a_killed_worker_costs_its_own_requests_and_comes_back(server: Server) -> None:
    workers = server.workers()
    assert len(workers) == 2
    with Load(server) as load:
        eventually(lambda: len(load.statuses) > 10)
        os.kill(workers[0], signal.SIGKILL)
        killed_at = len(load.statuses)
        eventually(lambda: len(load.statuses) > killed_at + 20)
        eventually(lambda: len(server.workers()) == 2 and set(server.workers()) != set(workers))
    assert set(load.statuses) == {200}
    assert load.broken <= 4  # one in flight of each client


def test_without_a_champion_it_lives_and_waits_for_one(tmp_path) -> None:
    with serve(tmp_path, until="/livez") as waiting:
        assert waiting.get("/readyz").status_code == 503
        got = waiting.post(FLAT)
        assert (got.status_code, got.json()["error"]) == (503, "not_ready")
        assert "models/CHAMPION is missing" in waiting.log.read_text()
        write_champion(tmp_path)
        eventually(lambda: waiting.get("/readyz").status_code == 200)
        assert waiting.post(FLAT).status_code == 200
