"""Tables that people bring, read line by line, and names of files as they may stand in a table."""

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

from pipeline.errors import ProjectError

MAX_BYTES = 256 * 2**20
HOW = "save it as CSV, UTF-8, separated by commas"
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # xlsx and ods, xls
UTF16 = (b"\xff\xfe", b"\xfe\xff")
OTHER_SEPARATORS = ";\t|"
# In front, what makes a spreadsheet compute a cell (OWASP, CSV injection) or is cut off; anywhere, what cannot be printed.
_UNSAFE = re.compile(r"^[=+@-]|^\s|\s\Z|[\x00-\x1f\x7f-\x9f\u2028\u2029\udc80-\udcff]")

Line = tuple[int, dict[str, str]]  # its number in the file, and its cells by column


def cell(name: str) -> str:
    """A file's name as it stands in a table: `%FF` for a byte that is no UTF-8, for what cannot be printed, and in front of a
    formula.

    Any other name stays as it is. `name_of` is the way back.
    """
    if not _UNSAFE.search(name):
        return name
    return _UNSAFE.sub(
        lambda match: "".join(f"%{byte:02X}" for byte in os.fsencode(match[0])), name.replace("%", "%25")
    )


def name_of(text: str) -> str:
    """The file name that `cell` wrote so."""
    return os.fsdecode(unquote_to_bytes(os.fsencode(text)))


def read_brought(path: Path, required: Sequence[str]) -> list[Line]:
    """The lines of a table that a person brings, each with its number; empty ones are left out.

    A line of the file is a row: no cell holds a line break. Names of columns count in any case; spaces around a cell do
    not count. A mark at the beginning (UTF-8 with BOM) is taken for what it is.

    Raises:
        ProjectError: it is missing or too large, no UTF-8, not separated by commas, lacks a column or has one twice, or a line
            has an open quote or more cells than the header; it names the line.
    """
    lines = _text(path).split("\n")
    header = [name.strip().casefold() for name in _cells(path, 1, lines[0])]
    while header and not header[-1]:
        header.pop()
    _expect_columns(path, lines[0], header, required)
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = [text.strip() for text in _cells(path, number, line)]
        if not any(cells):
            continue
        if any(cells[len(header) :]):
            raise ProjectError(f"{path.name}, line {number}: {len(cells)} cells, the header has {len(header)}")
        if len(cells) == 1 < len(required) and (other := _other_separator(line)):
            raise ProjectError(f"{path.name}, line {number}: separated by {other!r}, not by commas; {HOW}")
        cells += [""] * (len(header) - len(cells))
        rows.append((number, dict(zip(header, cells, strict=False))))
    return rows


def _text(path: Path) -> str:
    """The file's text, its lines ended by a line feed."""
    if not path.is_file():
        raise ProjectError(f"{path} is no file")
    if path.stat().st_size > MAX_BYTES:
        raise ProjectError(f"{path.name} is larger than {MAX_BYTES >> 20} MiB: is it a table?")
    data = path.read_bytes()
    if data.startswith(SPREADSHEETS):
        raise ProjectError(f"{path.name}, line 1: a spreadsheet, no text; {HOW}")
    if data.startswith(UTF16):
        raise ProjectError(f"{path.name}, line 1: UTF-16 or UTF-32, no UTF-8; {HOW}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _line_of(data, error.start)
        raise ProjectError(f"{path.name}, line {line}: no UTF-8 (byte {data[error.start]:02X}); {HOW}") from None
    if "\0" in text:
        raise ProjectError(f"{path.name}, line {_line_of(data, data.index(0))}: a zero byte, no UTF-8 text; {HOW}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _line_of(data: bytes, place: int) -> int:
    return len(re.split(rb"\r\n|\r|\n", data[:place]))


def _cells(path: Path, number: int, line: str) -> list[str]:
    """The cells of one line."""
    try:
        return next(csv.reader([line], strict=True, skipinitialspace=True), [])
    except csv.Error as error:
        what = "an open quote" if "end of data" in str(error) else str(error)
        raise ProjectError(f"{path.name}, line {number}: {what}") from None


def _other_separator(line: str) -> str | None:
    return next((sign for sign in OTHER_SEPARATORS if sign in line), None)


def _expect_columns(path: Path, line: str, header: Sequence[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    if missing and (other := _other_separator(line)):
        raise ProjectError(f"{path.name}, line 1: separated by {other!r}, not by commas; {HOW}")
    if missing:
        raise ProjectError(f"{path.name}, line 1: no column {', '.join(missing)}")
    doubled = sorted({name for name in header if name and header.count(name) > 1})
    if doubled:
        raise ProjectError(f"{path.name}, line 1: column {', '.join(doubled)} stands twice")
