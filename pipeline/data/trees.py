"""Folders that people bring: regular files alone. Links and devices are named, never followed; nothing is read that hangs."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

CLUTTER = ("__MACOSX",)  # beside hidden files: what operating systems add to folders and archives


class Unreadable(Exception):
    """Why a file is not read, in a few words."""


def is_clutter(name: str) -> bool:
    """Whether a file or folder is hidden (.DS_Store, ._name) or of the operating system's making."""
    return (name.startswith(".") and name != os.pardir) or name in CLUTTER


def is_folder(path: Path) -> bool:
    """Whether a real folder lies there: no link to one."""
    return _mode_is(path, stat.S_ISDIR)


def is_file(path: Path) -> bool:
    """Whether a regular file lies there: no link, device, socket or pipe."""
    return _mode_is(path, stat.S_ISREG)


def _mode_is(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(path.lstat().st_mode)
    except OSError:
        return False


def entries(folder: Path) -> Iterator[Path]:
    """Everything below a folder that is no folder and no clutter, links and devices included, in sorted order.

    A folder that cannot be opened is given as itself. Linked folders are given, not entered.
    """
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        if path != folder and not is_folder(path):
            yield path
            continue
        try:
            names = sorted((name for name in os.listdir(path) if not is_clutter(name)), reverse=True)
        except OSError:
            yield path
            continue
        waiting += [path / name for name in names]


def inside(folder: Path, name: str) -> Path:
    """The regular file `name`, relative to `folder` or absolute, where it lies in it without passing a link.

    Raises:
        Unreadable: it lies elsewhere, is missing, or is or passes a link, a device or a folder.
    """
    relative = Path(os.path.normpath(name))
    if relative.is_absolute():
        relative = Path(os.path.relpath(relative, folder.resolve()))
    if relative.parts[:1] == (os.pardir,):
        raise Unreadable("lies outside SOURCE")
    path = folder
    for part in relative.parts:
        path = path / part
        if os.path.islink(path):  # noqa: PTH114 - Path.is_symlink raises where a name is too long
            raise Unreadable("is or passes a symbolic link, which is not followed")
    if not os.path.lexists(path):
        raise Unreadable("is not in SOURCE")
    if not is_file(path):
        raise Unreadable("is no regular file")
    return path


def read(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Raises:
        Unreadable: it is no regular file, cannot be opened, or is larger.
    """
    data = read_start(path, limit + 1)
    if len(data) > limit:
        raise Unreadable(f"larger than {limit} bytes (serve.max_megabytes)")
    return data


def read_start(path: Path, size: int) -> bytes:
    """The first `size` bytes of a regular file, or all that it has.

    Raises:
        Unreadable: it is no regular file, or cannot be opened.
    """
    try:
        # Not blocking: a pipe would wait for a writer. Opened first and looked at then, so that nothing changes between.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Unreadable("no regular file")
        with os.fdopen(descriptor, "rb") as stream:
            return stream.read(size)
    except OSError as error:
        if os.path.islink(path):  # noqa: PTH114
            raise Unreadable("a symbolic link, which is not followed") from None
        raise Unreadable(f"cannot be opened: {error.strerror}") from None
