"""Writing files so that a killed process leaves either the old file or the new one."""

import ctypes
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import ProjectError

REQUIRED = object()
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of <fcntl.h> and <linux/fs.h>


def _temporary(path: Path) -> Path:
    """A name beside `path` for this process; what a killed process left under such a name is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        owner = left.name.removesuffix(".tmp").rpartition(".")[2]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` when the block ends without an error."""
    temporary = _temporary(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; it takes the place of `path` when the block ends well."""
    temporary = _temporary(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            exchange(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def exchange(first: Path, second: Path) -> None:
    """Let two folders change places in one step: a folder cannot be renamed over a filled one (ENOTEMPTY).

    Where the system cannot do it in one step, a kill between the two leaves `second` under a name that ends in `.old.tmp`.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # Linux, glibc 2.28
    if rename and rename(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0:
        return
    aside = second.with_name(f".{second.name}.old.tmp")
    os.replace(second, aside)
    os.replace(first, second)
    os.replace(aside, first)


def put_on_disk(path: Path) -> None:
    """Wait until a file, or a folder and all below it, is on the disk: for what no machine could make again."""
    for each in [*(path.rglob("*") if path.is_dir() else ()), path]:
        _sync(each)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, durable: bool = False) -> None:
    """Write UTF-8 text atomically; `durable`: it outlives a loss of power, and what was written before does too."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        if durable:
            put_on_disk(temporary)
    if durable:
        _sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: keys sorted, two spaces, a newline at the end; NaN is an error."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path, remedy: str = "run `make repro`", otherwise: Any = REQUIRED) -> Any:
    """What a JSON file holds, or `otherwise` if there is no file.

    Raises:
        ProjectError: it is missing, and then `remedy` says what to do; or it is no JSON.
    """
    where = path.relative_to(paths.ROOT) if path.is_relative_to(paths.ROOT) else path
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if otherwise is not REQUIRED:
            return otherwise
        raise ProjectError(f"{where} is missing: {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"{where} is no valid JSON: {error}") from None


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
