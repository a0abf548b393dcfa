"""The image files in what a person names: folders, nested as they are, files under any name, and zip archives."""

import functools
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.data import trees
from pipeline.data.trees import Unreadable
from pipeline.errors import ProjectError

ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Image:
    """One file that should hold an image: what it is called, and how its bytes are read.

    `read` takes the largest number of bytes and raises `Unreadable` where there are more, or none can be read.
    """

    name: str
    read: Callable[[int], bytes]


def find(sources: Sequence[Path], besides: Path | None = None) -> list[Image]:
    """Every file that the sources hold, in sorted order, named relative to its folder where there is one folder alone.

    Hidden files and what operating systems add are left out, and so is the file `besides`. Links and devices below a folder
    are listed and refuse to be read; a source itself may be a link.

    Raises:
        ProjectError: a source is neither folder nor regular file, or there is no file at all.
    """
    images: list[Image] = []
    for source in sources:
        place = source.resolve()
        if not trees.is_folder(place) and not trees.is_file(place):
            raise ProjectError(f"SOURCE: {source} is no folder and no regular file")
        for path in trees.entries(place) if trees.is_folder(place) else [place]:
            if besides is None or path != besides.resolve():
                images += _images(path, _name(path, place, source, alone=len(sources) == 1))
    if not images:
        raise ProjectError(f"SOURCE: {', '.join(map(str, sources))} holds no file")
    return images


def of_file(path: Path, name: str) -> Image:
    """A file as an image."""
    return Image(name, functools.partial(trees.read, path))


def _name(path: Path, place: Path, source: Path, alone: bool) -> str:
    if path == place:
        return source.name if alone else str(source)
    relative = path.relative_to(place)
    return str(relative if alone else source / relative)


def _images(path: Path, name: str) -> Iterator[Image]:
    """The file itself, or what an archive holds."""
    try:
        start = trees.read_start(path, len(ZIP))
    except Unreadable:
        start = b""
    if start != ZIP:
        yield of_file(path, name)
        return
    try:
        members = _archive(path).infolist()
    except Exception:  # noqa: BLE001 - a broken archive may raise anything
        yield Image(name, functools.partial(_refuse, "a zip archive that cannot be opened"))
        return
    for member in members:
        if not member.is_dir() and not any(map(trees.is_clutter, PurePosixPath(member.filename).parts)):
            yield Image(f"{name}/{member.filename}", functools.partial(_member, path, member))


@functools.lru_cache(maxsize=1)  # its members are read one after the other
def _archive(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb"))


def _member(path: Path, member: zipfile.ZipInfo, limit: int) -> bytes:
    """The bytes of a file in an archive; its own word on its size counts for nothing."""
    if stat.S_ISLNK(member.external_attr >> 16):
        raise Unreadable("a symbolic link, which is not followed")
    if member.flag_bits & 1:
        raise Unreadable("locked by a password")
    try:
        with _archive(path).open(member) as stream:
            data = stream.read(limit + 1)
    except Exception as error:  # noqa: BLE001 - zipfile and its decompressors raise many kinds
        raise Unreadable(f"cannot be unpacked ({type(error).__name__})") from None
    if len(data) > limit:
        raise Unreadable(f"larger than {limit} bytes (serve.max_megabytes)")
    return data


def _refuse(reason: str, limit: int) -> bytes:
    raise Unreadable(reason)
