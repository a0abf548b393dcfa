"""The profile `serve`: built, started, asked, loaded, stopped."""

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from scripts.image_sizes import above
from tests.containers_fixture import BASE, ROOT, Stack, container, docker, pinned_base, stack, wait
from tests.image_fixture import encoded, scene

pytestmark = pytest.mark.containers
MEGABYTE = 1_000_000
LIMIT = 500 * MEGABYTE  # of our layers above the base image


@pytest.fixture(scope="module")
def serve() -> Iterator[Stack]:
    # What is asked here is no radiograph; by default the service would refuse it.
    with stack("serve", service={"environment": {"SERVE_OUT_OF_DISTRIBUTION": "warn"}}) as made:
        made.up(seconds=120)
        yield made


def ask(address: str) -> httpx.Response:
    return httpx.post(f"{address}/predict", files={"image": ("picture", encoded(scene()), "image/jpeg")}, timeout=60)


def test_it_answers_from_outside_as_the_champion(serve: Stack) -> None:
    answer = ask(serve.address("service", 3000))
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_version"] == (ROOT / "models" / "CHAMPION").read_text().strip()


def test_it_is_ready_measured_and_shown_under_the_names_that_it_is_given(serve: Stack) -> None:
    address = serve.address("service", 3000)
    for page in ("/readyz", "/metrics", "/", "/model"):
        assert httpx.get(address + page, timeout=30).status_code == 200, page
        assert httpx.get(address + page, headers={"Host": "service:3000"}, timeout=30).status_code == 200, page
    assert httpx.get(f"{address}/readyz", headers={"Host": "10.0.0.7:3000"}, timeout=30).status_code == 200
    refused = httpx.get(f"{address}/metrics", headers={"Host": "evil.example"}, timeout=30)
    assert (refused.status_code, refused.json()["error"]) == (421, "unknown_host")


def test_it_is_read_only_not_root_and_without_capabilities(serve: Stack) -> None:
    assert serve.inside("service", "id", "-u").strip() == "1000"
    status = serve.inside("service", "cat", "/proc/1/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0
    assert facts["NoNewPrivs"] == "1"
    for place in ("/service", "/home/serve", "/opt/serve", "/service/models", "/etc"):
        told = serve.inside("service", "sh", "-c", f"touch {place}/x 2>&1 || true")
        assert "Read-only file system" in told, f"{place}: {told}"


def test_it_stays_within_its_limits_under_64_requests_at_once(serve: Stack) -> None:
    address, image = serve.address("service", 3000), encoded(scene(2000, 2000), "PNG")
    files = {"image": ("picture", image, "image/png")}
    with ThreadPoolExecutor(64) as clients:
        asked = [clients.submit(httpx.post, f"{address}/predict", files=files, timeout=120) for _ in range(64)]
        statuses = {future.result().status_code for future in asked}
    assert statuses <= {200, 429, 503}, statuses
    assert 200 in statuses
    container = serve.container("service")
    assert not container["State"]["OOMKilled"]
    assert container["RestartCount"] == 0
    limits = container["HostConfig"]
    threads = int(docker("stats", "--no-stream", "--format", "{{.PIDs}}", container["Id"]))
    assert 0 < threads < limits["PidsLimit"] / 2
    assert 0 < limits["Memory"] == limits["MemorySwap"]


def test_a_health_check_asks_for_a_champion(serve: Stack) -> None:
    known = serve.container("service")
    check = known["Config"]["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    serve.inside("service", *check[1:])
    with container(known["Image"], "--tmpfs", "/tmp", "--tmpfs", "/service/models") as empty:
        lives = ["python", "-c", check[3].replace("readyz", "livez")]
        wait(lambda: _works(empty, *lives), "a service without a champion", 60)
        assert not _works(empty, *check[1:])


def test_a_home_that_cannot_be_written_stops_nothing(serve: Stack) -> None:
    nowhere = [
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--user",
        "4711",
        "--env",
        "HOME=/nowhere",
        "--publish",
        "127.0.0.1::3000",
    ]
    with container(serve.container("service")["Image"], *nowhere) as name:
        address = "http://" + docker("port", name, "3000").split()[0]
        wait(lambda: _ready(address), "a service without a home", 60)
        packed = docker("exec", name, "ls", "models/champions").split()
        assert packed == [(ROOT / "models" / "CHAMPION").read_text().strip()]  # not the ones before


def test_compose_takes_the_file_for_gpus_over_the_other(serve: Stack) -> None:
    files = ["--file", serve.files[0], "--file", serve.files[0].with_name("compose.gpu.yaml")]
    read = json.loads(docker("compose", *files, "--profile", "full", "config", "--format", "json"))["services"]
    assert [device["device_ids"] for device in read["worker"]["gpus"]] == [["0"]]
    assert read["worker"]["build"]["args"] == {"REQUIREMENTS": "cuda"}
    assert read["head"]["command"] == ["default"]
    assert [name for name, service in read.items() if "gpus" in service] == ["worker"]


def test_our_layers_are_small(serve: Stack) -> None:
    ours = above(serve.container("service")["Image"], BASE or pinned_base())
    assert sum(size for size, _ in ours) <= LIMIT, ours


def test_it_ends_when_asked(serve: Stack) -> None:
    """The last one: Docker kills what has not ended after ten seconds, with status 137."""
    began = time.monotonic()
    serve.compose("stop", "service")
    assert time.monotonic() - began < 10
    assert serve.container("service")["State"]["ExitCode"] == 0


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _works(name: str, *command: str) -> bool:
    return subprocess.run(["docker", "exec", name, *command], capture_output=True, check=False).returncode == 0
