"""The images of docker/ built and their containers run, on whatever engine there is.

Where no registry is at hand, CONTAINERS_BASE names another base image than the pinned one, and CONTAINERS_NETWORK the
network of the builds (`host`). Both go into an override file that is written for the test. Ports are whatever is free.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
BASE = os.environ.get("CONTAINERS_BASE", "")
NETWORK = os.environ.get("CONTAINERS_NETWORK", "")
OWN = "pneumonia-radiographs/"  # images that docker/ describes; the tests' copies have a name of their own


class _Replaced(list[Any]):
    """A list that replaces the one of compose.yaml; Compose appends it otherwise."""


class _Nothing:
    """Takes away what compose.yaml says."""


yaml.SafeDumper.add_representer(_Nothing, lambda dumper, _: dumper.represent_scalar("!reset", "null"))
yaml.SafeDumper.add_representer(_Replaced, lambda dumper, data: dumper.represent_sequence("!override", list(data)))


def docker(*command: Any) -> str:
    """What a command of the engine prints; fails with what it says."""
    command = tuple(map(str, command))
    done = subprocess.run(["docker", *command], capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, f"docker {' '.join(command)}:\n{done.stdout[-6000:]}{done.stderr[-6000:]}"
    return done.stdout


def environment() -> dict[str, str]:
    """The process's own; one image after the other, and the classic builder where the client has no other."""
    buildx = subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0
    return {**os.environ, "COMPOSE_PARALLEL_LIMIT": "1", **({} if buildx else {"DOCKER_BUILDKIT": "0"})}


def need_an_engine() -> None:
    """Skip, and say so, where there is no engine or no Compose."""
    if (
        not shutil.which("docker")
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0
    ):
        pytest.skip("NOT TESTED: containers; no Docker engine answers (`docker info`)")
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("NOT TESTED: containers; `docker compose` is missing")


def build_options() -> list[str]:
    """What a build on this machine needs besides the Dockerfile."""
    return [
        *(["--network", NETWORK] if NETWORK else []),
        *(["--build-arg", f"BASE={BASE}"] if BASE else []),
    ]


def checkout(folder: Path) -> Path:
    """A clone of this checkout, what is not committed included, all of it committed there."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    listed = ["git", "ls-files", "-z", "--modified", "--others", "--exclude-standard"]
    changed = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, changed):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    subprocess.run(
        ["git", *identity, "commit", "--quiet", "--allow-empty", "-m", "as it stands"], cwd=folder, check=True
    )
    return folder


class Stack:
    """One profile of docker/compose.yaml, as `docker compose` runs it."""

    def __init__(self, profile: str, root: Path, folder: Path, changes: dict[str, dict[str, Any]]) -> None:
        self.profile = profile
        self.project = f"pneumonia-test-{profile}-{os.getpid()}"
        self.files = [root / "docker" / "compose.yaml", folder / "override.yaml"]
        self.options = ["--env-file", str(folder / "env")]
        self.files[1].write_text(yaml.safe_dump({"services": self._override(changes)}, sort_keys=False))

    def _override(self, changes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        changed: dict[str, dict[str, Any]] = {}
        built: set[str] = set()
        for name, service in yaml.safe_load(self.files[0].read_text())["services"].items():
            if self.profile not in service["profiles"]:
                continue
            changed[name] = {}
            if service["image"].startswith(OWN):
                changed[name]["image"] = image = service["image"].replace(OWN, "pneumonia-test/")
                build = {**({"network": NETWORK} if NETWORK else {}), "args": {"BASE": BASE} if BASE else {}}
                # Once: the classic builder would build the same image for each of its services, at the same time.
                changed[name]["build"] = _Nothing() if image in built else build
                built.add(image)
            if "ports" in service:
                changed[name]["ports"] = _Replaced(
                    [f"127.0.0.1::{port.rpartition(':')[2]}" for port in service["ports"]]
                )
        for name, change in changes.items():
            here = changed.setdefault(name, {})
            for key, value in change.items():
                here[key] = {**here.get(key, {}), **value} if isinstance(value, dict) else value
        return changed

    def compose(self, *arguments: Any) -> str:
        """What a command of Compose prints."""
        files = [part for file in self.files for part in ("--file", file)]
        return docker(
            "compose", "--project-name", self.project, *files, *self.options, "--profile", self.profile, *arguments
        )

    def up(self, *options: str, seconds: int = 300) -> None:
        """Start, and wait until every part that has a health check is healthy."""
        try:
            self.compose("up", "--detach", "--wait", "--wait-timeout", seconds, *options)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.compose('ps', '--all')}\n{self.logs()}") from None

    def logs(self, *services: str) -> str:
        """The last lines of each part."""
        return self.compose("logs", "--no-color", "--tail", 40, *services)

    def down(self) -> None:
        """End it all; containers, networks and volumes go, images stay."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", 20)

    def address(self, service: str, port: int) -> str:
        """Where a published port of a container is reached from outside."""
        return f"http://{self.compose('port', service, port).strip()}"

    def container(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        (name,) = self.compose("ps", "--all", "--quiet", service).split()
        return json.loads(docker("inspect", name))[0]

    def inside(self, service: str, *command: str) -> str:
        """What a command in a service's container prints."""
        return self.compose("exec", "--no-TTY", service, *command)


@contextmanager
def stack(
    profile: str, root: Path = ROOT, environ: str = "", kind: type[Stack] = Stack, **changes: dict[str, Any]
) -> Iterator[Stack]:
    """A profile, its images built, not started; all of it is removed at the end. `environ` is the file of variables."""
    need_an_engine()
    with tempfile.TemporaryDirectory(prefix="containers-") as name:
        folder = Path(name)
        (folder / "env").write_text(environ)
        made = kind(profile, root, folder, changes)
        made.compose("build")
        try:
            yield made
        finally:
            made.down()


@contextmanager
def container(image: str, *options: str) -> Iterator[str]:
    """The name of a container of an image, removed at the end; options as `docker run` takes them."""
    name = docker("run", "--detach", *options, image).strip()
    try:
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def logs(name: str) -> str:
    """The last lines that a container wrote."""
    command = ["docker", "logs", "--tail", "40", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode(errors="replace")


def wait(ready: Callable[[], Any], what: str, seconds: float, pause: float = 0.5) -> Any:
    """What `ready` says as soon as it is true."""
    until = time.monotonic() + seconds
    while not (answer := ready()):
        assert time.monotonic() < until, f"waited {seconds:g} s for {what}"
        time.sleep(pause)
    return answer


def pinned_base() -> str:
    """The base image that the Dockerfiles name."""
    return (ROOT / "docker" / "service.Dockerfile").read_text().partition("ARG BASE=")[2].split()[0]
