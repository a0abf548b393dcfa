"""Build the four images anew, and write their sizes by layer and their times into docs/containers.md.

    python scripts/image_sizes.py

CONTAINERS_BASE names another base image than the pinned one, CONTAINERS_NETWORK the network of the builds (`host`).
"""

import datetime
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "containers.md"
BASE = os.environ.get("CONTAINERS_BASE", "")
IMAGES = {  # name: Dockerfile, target
    "service": ("service.Dockerfile", ""),
    "mlflow": ("mlflow.Dockerfile", ""),
    "airflow": ("pipeline.Dockerfile", "airflow"),
    "worker": ("pipeline.Dockerfile", "worker"),
}
SMALL = 1_000_000  # bytes; layers below are shown as one


def main() -> None:
    """Build, measure, write."""
    base = BASE or re.findall(r"^ARG BASE=(\S+)", (ROOT / "docker" / "service.Dockerfile").read_text(), re.MULTILINE)[0]
    rows = ["| image | build, no cache | layers above the base, MB | sum |\n|---|---|---|---|"]
    for name, (dockerfile, target) in IMAGES.items():
        seconds = build(name, dockerfile, target)
        layers = above(f"pneumonia-radiographs/{name}", base)
        shown = " + ".join(f"{size / 1e6:.0f} {what}" for size, what in layers if size >= SMALL)
        rows.append(f"| `{name}` | {seconds:.0f} s | {shown} | {sum(size for size, _ in layers) / 1e6:.0f} |")
    size = int(docker("image", "inspect", "--format", "{{.Size}}", base)) / 1e6
    stood_in = " (a stand-in: the pinned one was not at hand)" if BASE else ""
    note = (
        f"Measured by `scripts/image_sizes.py` on {datetime.date.today()} on {os.cpu_count()} cores at a load average of "
        f"{os.getloadavg()[1]:.1f}, packages from a mirror nearby; the base image has {size:.0f} MB{stood_in}."
    )
    text = PAGE.read_text(encoding="utf-8")
    block = "\n".join([*rows, "", note])
    PAGE.write_text(
        re.sub(r"(<!-- images -->\n).*?(<!-- /images -->)", lambda m: f"{m[1]}{block}\n{m[2]}", text, flags=re.DOTALL),
        encoding="utf-8",
    )
    sys.stdout.write(block + "\n")


def build(name: str, dockerfile: str, target: str) -> float:
    """Seconds that a build takes with nothing kept."""
    options = [
        "--no-cache",
        *(["--build-arg", f"BASE={BASE}"] if BASE else []),
        *(["--target", target] if target else []),
    ]
    if network := os.environ.get("CONTAINERS_NETWORK"):
        options += ["--network", network]
    began = time.monotonic()
    docker("build", *options, "--file", f"docker/{dockerfile}", "--tag", f"pneumonia-radiographs/{name}", ".")
    return time.monotonic() - began


def above(image: str, base: str) -> list[tuple[int, str]]:
    """Bytes and content of each layer that the base image has not, the first one first."""
    layers = history(image)[: -len(history(base))]
    return [(size, contents(command)) for size, command in reversed(layers)]


def history(image: str) -> list[tuple[int, str]]:
    """Bytes and command of each layer, the last one first."""
    printed = docker("history", "--human=false", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", image)
    return [(int(size), command) for size, _, command in (line.partition("\t") for line in printed.splitlines())]


def contents(command: str) -> str:
    """What a layer holds, by the last word of its COPY or by its first command."""
    if "COPY" in command:
        return command.split("# buildkit")[0].split()[-1]
    return "git" if "apt-get" in command else "user"


def docker(*command: str) -> str:
    """What a command of the engine prints."""
    done = subprocess.run(["docker", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"docker {' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
