"""The directories of a TIFF or BigTIFF file (TIFF 6.0; BigTIFF as libtiff writes it), read, checked and rewritten."""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.decoding.errors import UnreadableImage, broken
from pipeline.decoding.limits import Limits

UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
MAX_STRIPS = 100_000
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR = 256, 257, 258, 259, 262, 277, 284
STRIP_OFFSETS, STRIP_COUNTS, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 273, 279, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
PER_PIECE = (STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS)


class Entry(NamedTuple):
    """One tag: its type, how many values, and the file's bytes of them from `place`."""

    kind: int
    count: int
    place: int


@dataclass(frozen=True)
class Directory:
    """The first directory of a file: byte order (`<` or `>`), whether it is a BigTIFF, and its tags."""

    data: bytes
    order: str
    big: bool
    entries: dict[int, Entry]

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The whole numbers of a tag."""
        entry = self.entries.get(tag)
        if entry is None or not entry.count:
            return default
        if entry.kind not in CODES:
            raise broken("TIFF", f"has a tag {tag} of a type that holds no whole numbers")
        try:
            return struct.unpack_from(f"{self.order}{entry.count}{CODES[entry.kind]}", self.data, entry.place)
        except (struct.error, OverflowError):
            raise broken("TIFF", "points behind its end") from None

    def number(self, tag: int, default: int = 0) -> int:
        """The first number of a tag."""
        return self.numbers(tag, (default,))[0]


def check(data: bytes, limits: Limits) -> Directory:
    """Walk all directories, and give the first.

    Raises:
        UnreadableImage: too many frames, strips, pixels or too much metadata, or a broken structure.
    """
    order = "<" if data.startswith(b"II") else ">"
    big = _number(data, 2, order + "H") == 43
    place = _number(data, 8 if big else 4, order + ("Q" if big else "I"))
    first: Directory | None = None
    frames = metadata = 0
    while place:
        frames += 1
        limits.check_frames("TIFF", frames)
        entries, place, size = _directory(data, place, order, big, limits)
        metadata += size
        limits.check_metadata("TIFF", metadata)
        first = first or Directory(data, order, big, entries)
    if first is None:
        raise broken("TIFF", "holds no image")
    _check_size(first, limits)
    return first


def _directory(
    data: bytes, place: int, order: str, big: bool, limits: Limits
) -> tuple[dict[int, Entry], int, int]:
    """The tags at `place`, the place of the next directory, and how many bytes the tags take."""
    step, count_form = (20, order + "Q") if big else (12, order + "H")
    total = _number(data, place, count_form)
    start, size, entries = place + struct.calcsize(count_form), 0, {}
    limits.check_metadata("TIFF", total * step)
    for number in range(total):
        where = start + step * number
        tag, kind = _number(data, where, order + "H"), _number(data, where + 2, order + "H")
        count = _number(data, where + 4, order + ("Q" if big else "I"))
        if tag in PER_PIECE and count > MAX_STRIPS:
            raise UnreadableImage(
                "too_much_metadata", f"the TIFF file has {count} strips or tiles; at most {MAX_STRIPS} are read"
            )
        length = count * UNITS.get(kind, 8)
        inside, held = (where + 12, 8) if big else (where + 8, 4)
        entries[tag] = Entry(kind, count, inside if length <= held else _number(data, inside, order + "IQ"[big]))
        size += step + length
        limits.check_metadata("TIFF", size)
    return entries, _number(data, start + step * total, order + "IQ"[big]), size


def _check_size(directory: Directory, limits: Limits) -> None:
    width, height = directory.number(WIDTH), directory.number(LENGTH)
    if width < 1 or height < 1:
        raise broken("TIFF", "does not say its width and length")
    tile = directory.number(TILE_WIDTH) * directory.number(TILE_LENGTH)
    limits.check_pixels(width, height, max(width * height, tile))


def rewrite(directory: Directory, changes: dict[int, tuple[int, ...]]) -> bytes:
    """The file with a new first directory behind it, in which some tags have other numbers; () removes a tag."""
    order, big = directory.order, directory.big
    word, held = ("Q", 8) if big else ("I", 4)
    rows: dict[int, tuple[int, int, bytes]] = {}
    for tag, entry in directory.entries.items():
        length = entry.count * UNITS.get(entry.kind, 8)
        rows[tag] = (entry.kind, entry.count, directory.data[entry.place : entry.place + length])
    for tag, numbers in changes.items():
        kind = 16 if big else 4
        rows[tag] = (kind, len(numbers), struct.pack(f"{order}{len(numbers)}{word}", *numbers))
        if not numbers:
            del rows[tag]
    place = len(directory.data) + len(directory.data) % 2
    head = struct.pack(order + ("Q" if big else "H"), len(rows))
    outside = place + len(head) + len(rows) * (20 if big else 12) + held
    table, values = b"", b""
    for tag, (kind, count, content) in sorted(rows.items()):
        at = content.ljust(held, b"\0") if len(content) <= held else struct.pack(order + word, outside + len(values))
        table += struct.pack(order + "HH" + word, tag, kind, count) + at
        values += content + bytes(len(content) % 2) if len(content) > held else b""
    start = 8 if big else 4
    body = directory.data[:start] + struct.pack(order + word, place) + directory.data[start + held :]
    return body + bytes(len(body) % 2) + head + table + bytes(held) + values


def _number(data: bytes, place: int, form: str) -> int:
    try:
        return int(struct.unpack_from(form, data, place)[0])
    except (struct.error, OverflowError):
        raise broken("TIFF", "points behind its end") from None
