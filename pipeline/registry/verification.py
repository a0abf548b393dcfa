"""Nothing is served but what was promoted: a champion is read once, and every byte is held against its contract.

models/CHAMPION names a folder of models/champions/, by a plain name. Links are not followed, neither of the pointer nor of
the folder nor of a file in it. What was verified is what is used: nothing is read a second time.
"""

import json
import os
import re
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipeline import outcomes, paths
from pipeline.errors import ProjectError
from pipeline.registry import contract
from pipeline.schema import describe

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,119}")
CONTRACT = "contract.json"
# Files that a contract need not name: itself, the text that was made of it, and what the gate alone reads, which the champions
# of 0.1.0 were given later.
UNNAMED = (CONTRACT, "card.md", "unseen.csv")
MAX_BYTES = 256 * 2**20  # of a file; `compare.release.max_megabytes` of the study is far less
MAX_POINTER = 1000
SIDES = (32, 1024)  # of the square that a network takes, in pixels: those of preprocess.image_size


@dataclass(frozen=True)
class Champion:
    """A version that is whole: its contract, and the bytes of the files that the contract names."""

    version: str
    contract: dict[str, Any]
    files: dict[str, bytes]


def pointer() -> str:
    """The version that models/CHAMPION names.

    Raises:
        ProjectError: there is none, or it is anything but a plain name.
    """
    try:
        text = _read_file(paths.CHAMPION, MAX_POINTER).decode("ascii").strip()
    except FileNotFoundError:
        raise ProjectError("models/CHAMPION is missing: there is no champion yet (make promote)") from None
    except _Unfit as reason:
        raise ProjectError(f"models/CHAMPION {reason}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"models/CHAMPION cannot be read: {_said(error)}") from None
    if not NAME.fullmatch(text):
        raise ProjectError(
            f"models/CHAMPION names {text[:60]!r}, which is no plain name of a folder in models/champions/; "
            "`git checkout models/CHAMPION` brings it back"
        )
    return text


def read(version: str) -> Champion:
    """The champion `models/champions/<version>`, every byte verified.

    Raises:
        ProjectError: a file is missing, is not the one that was packaged, is none of the contract's, or is a link; the
            contract is not what a contract of its generation must be, or is another version's. One line that names it.
    """
    place = f"models/champions/{version}"
    if not NAME.fullmatch(version):
        raise ProjectError(f"{version[:60]!r} is no plain name of a folder in models/champions/")
    files = _read_folder(paths.CHAMPIONS / version, place)
    terms = _contract(files.pop(CONTRACT, None), place)
    for name, digest in terms["files"].items():
        if name not in files:
            raise ProjectError(f"{place}/{name} is missing")
        if sha256(files[name]).hexdigest() != digest:
            raise ProjectError(f"{place}/{name} is not the file that was packaged")
    if unknown := files.keys() - terms["files"].keys() - {*UNNAMED}:
        raise ProjectError(f"{place}/{min(unknown)} is a file that the contract does not name")
    if terms["version"] != version:
        raise ProjectError(f"{place}/{CONTRACT} is of {terms['version']}, another version")
    return Champion(version, terms, {name: files[name] for name in terms["files"]})


def problem(version: str) -> str | None:
    """What is wrong with a champion, in one line; None when it is whole."""
    try:
        read(version)
    except ProjectError as error:
        return str(error)
    return None


class _Unfit(Exception):
    """Why a file is not read, as the end of a sentence."""


class _Part(BaseModel):
    """What the service reads of a contract; further keys are for people."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


def _square(shape: list[int | None]) -> list[int | None]:
    least, most = SIDES
    side = shape[1] if len(shape) == 4 else None
    if shape != [None, side, side, 1] or side is None or not least <= side <= most:
        raise ValueError(f"must be [null, side, side, 1] with a side from {least} to {most}")
    return shape


def _answering(files: dict[str, str]) -> dict[str, str]:
    if missing := set(contract.ANSWERING) - files.keys():
        raise ValueError(f"must name {', '.join(sorted(missing))} as well")
    return files


def _ascending(scale: list[float]) -> list[float]:
    if not scale[0] < scale[1]:
        raise ValueError("must be the lower end and the upper one")
    return scale


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]


class _Input(_Part):
    shape: Annotated[list[int | None], AfterValidator(_square)]


class _Recalibration(_Part):
    intercept: float
    slope: float


class _Contract(_Part):
    """A contract of either generation: of 0.1.0 (no `format`), or of today."""

    format: Literal[2] = contract.FORMAT  # type: ignore[assignment]
    version: str
    run: str
    name: str
    network: str
    dataset: str
    edition: str
    precision: Literal["float32", "bfloat16"]
    input: _Input
    prevalence: float = Field(gt=0, lt=1)
    map_scale: Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
    recalibration: _Recalibration
    files: Annotated[dict[FileName, Digest], AfterValidator(_answering)]
    figures: dict[str, dict[str, dict[str, Any]]]
    intended_use: str
    changelog: list[str]


def _contract(data: bytes | None, place: str) -> dict[str, Any]:
    """The contract in these bytes, if it is one of its generation and its content gives its version."""
    source = f"{place}/{CONTRACT}"
    if data is None:
        raise ProjectError(f"{source} is missing: the champion's files are not at hand")
    try:
        terms = json.loads(data.decode("utf-8"), parse_constant=_no_number)
        json.dumps(terms, ensure_ascii=False).encode("utf-8")  # half a surrogate pair could not be sent
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"{source} is no valid JSON: {_said(error)}") from None
    try:
        _Contract.model_validate(terms)
        outcomes.thresholds(terms)
        expected = contract.version_of(terms)
    except ValidationError as error:
        raise ProjectError(f"{source}: {describe(error)}") from None
    except ProjectError as error:
        raise ProjectError(f"{source}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ProjectError(f"{source}: the version cannot be computed: {error!r}") from None
    if terms["version"] != expected:
        raise ProjectError(f"{source} was changed: its version is {terms['version']}, its content says {expected}")
    return terms


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def _read_folder(folder: Path, place: str) -> dict[str, bytes]:
    """The files of a champion by name; hidden ones, as rsync makes them while it copies, are left out."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise ProjectError(f"{place} is missing: the champion's files are not at hand") from None
    except OSError as error:
        reason = "is a link, which is not followed" if folder.is_symlink() else f"cannot be opened: {_said(error)}"
        raise ProjectError(f"{place} {reason}") from None
    name = ""
    try:
        names = [name for name in sorted(os.listdir(descriptor)) if not name.startswith(".")]
        files = {}
        for name in names:
            files[name] = _read_file(name, MAX_BYTES, descriptor)
        return files
    except _Unfit as reason:
        raise ProjectError(f"{place}/{name} {reason}") from None
    except OSError as error:
        raise ProjectError(f"{place}/{name} cannot be read: {_said(error)}") from None
    finally:
        os.close(descriptor)


def _read_file(path: str | Path, limit: int, folder: int | None = None) -> bytes:
    """The bytes of a regular file of at most `limit` bytes; opened first and looked at then, so that it cannot change."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        if stat.S_ISLNK(_mode(path, folder)):
            raise _Unfit("is a link, which is not followed") from None
        raise error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _Unfit("is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            data = stream.read(limit + 1) if status.st_size <= limit else b""
    finally:
        os.close(descriptor)
    if max(len(data), status.st_size) > limit:
        raise _Unfit(f"has more than {limit} bytes")
    return data


def _mode(path: str | Path, folder: int | None) -> int:
    try:
        return os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode
    except OSError:
        return 0


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
