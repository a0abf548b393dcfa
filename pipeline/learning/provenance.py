"""With what a network was trained: versions, device, threads, commit. It stands beside the results; nothing depends on it."""

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras

from pipeline import git
from pipeline.errors import ProjectError
from pipeline.files import write_json
from pipeline.learning.engine import choose_engine

CUDA_PACKAGES = ("nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime", "nvidia-cuda-runtime-cu13")
PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "numpy")


def environment() -> dict[str, Any]:
    """Versions of Python, of the packages that are installed and of CUDA, the device, threads, and the commit."""
    engine = choose_engine()
    return {
        "python": platform.python_version(),
        "packages": {name: installed for name in PACKAGES if (installed := _version(name))},
        "backend": engine.backend,
        "cuda": _cuda() if engine.device == "gpu" else None,
        "device": engine.device,
        "devices": keras.distribution.list_devices(),
        "processor": _processor(),
        "threads": os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count(),
        "commit": _commit(),
    }


def write_environment(path: Path) -> None:
    """Write `environment()` as JSON."""
    write_json(path, environment())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cuda() -> str | None:
    """The version of the CUDA runtime that came with the backend's packages."""
    return next((installed for name in CUDA_PACKAGES if (installed := _version(name))), None)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    """The commit of the checkout, with `+` behind it where a tracked file differs; None outside git."""
    with suppress(ProjectError):
        head = git.output("rev-parse", "HEAD").strip()
        changed = git.output("status", "--porcelain", "--untracked-files=no", "--", "pipeline", "params.yaml")
        return head + ("+" if changed else "")
    return None
