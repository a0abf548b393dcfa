"""The directories of a TIFF or BigTIFF file (TIFF 6.0; BigTIFF as libtiff writes it), read, checked and rewritten."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.decoding.errors import UnreadableImage, broken
from pipeline.decoding.limits import Limits

UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
MAX_STRIPS = 100_000
PADDED = 2  # as many pixels may be unpacked as are read at most: tiles reach over the edges of an image
SHARED = 4  # times the size of the file that its strips may have together; they may share bytes
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR = 256, 257, 258, 259, 262, 277, 284
STRIP_OFFSETS, STRIP_COUNTS, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 273, 279, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
SUBFILE = 254
REDUCED = 1  # a subfile that is a smaller copy of another: a thumbnail, no further image
PER_PIECE = (STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS)


@dataclass(frozen=True)
class Entry:
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
        entries, place, size = _directory(data, place, order, big, limits)
        metadata += size
        limits.check_metadata("TIFF", metadata)
        directory = Directory(data, order, big, entries)
        first = first or directory
        if directory is first or not directory.number(SUBFILE) & REDUCED:
            frames += 1
            limits.check_frames("TIFF", frames)
    if first is None:
        raise broken("TIFF", "holds no image")
    _check_size(first, limits)
    return first


def _directory(data: bytes, place: int, order: str, big: bool, limits: Limits) -> tuple[dict[int, Entry], int, int]:
    """The tags at `place`, the place of the next directory, and how many bytes the tags take."""
    step, count_form = (20, order + "Q") if big else (12, order + "H")
    total = _number(data, place, count_form)
    start, size, entries = place + struct.calcsize(count_form), 0, {}
    if total * step > len(data):
        raise broken("TIFF", "has a directory that is longer than the file")
    limits.check_metadata("TIFF", total * step)
    for number in range(total):
        where = start + step * number
        tag, kind = _number(data, where, order + "H"), _number(data, where + 2, order + "H")
        count = _number(data, where + 4, order + ("Q" if big else "I"))
        length = count * UNITS.get(kind, 8)
        if length > len(data):
            raise broken("TIFF", f"has a tag {tag} that is longer than the file")
        if tag in PER_PIECE and count > MAX_STRIPS:
            raise UnreadableImage(
                "too_much_metadata", f"the TIFF file has {count} strips or tiles; at most {MAX_STRIPS} are read"
            )
        inside, held = (where + 12, 8) if big else (where + 8, 4)
        entries[tag] = Entry(kind, count, inside if length <= held else _number(data, inside, order + "IQ"[big]))
        size += step + length
        limits.check_metadata("TIFF", size)
    return entries, _number(data, start + step * total, order + "IQ"[big]), size


def _check_size(directory: Directory, limits: Limits) -> None:
    width, height = directory.number(WIDTH), directory.number(LENGTH)
    if width < 1 or height < 1:
        raise broken("TIFF", "does not say its width and length")
    limits.check_pixels(width, height)
    _check_work(directory, width, height, limits)


def _check_work(directory: Directory, width: int, height: int, limits: Limits) -> None:
    """Bound what a decoder unpacks (tiles are whole, however little of them is image) and what it reads for that."""
    across, down = directory.number(TILE_WIDTH), directory.number(TILE_LENGTH)
    if across and down:
        limits.check_pixels(across, down)
        unpacked = -(-width // across) * across * -(-height // down) * down
        if unpacked > PADDED * limits.max_pixels:
            limits.check_pixels(width, height, unpacked)
    packed = sum(directory.numbers(STRIP_COUNTS)) + sum(directory.numbers(TILE_COUNTS))
    if directory.number(COMPRESSION, 1) != 1 and packed > SHARED * len(directory.data):
        raise broken("TIFF", f"has strips or tiles of {packed} bytes in all, and {len(directory.data)} bytes itself")


def rewrite(directory: Directory, changes: Mapping[int, tuple[int, ...]]) -> bytes:
    """The image as a classic TIFF with a new directory behind it, some tags with other numbers; () removes one."""
    order, data = directory.order, directory.data
    rows = {tag: _row(directory, tag, entry) for tag, entry in directory.entries.items()}
    for tag, numbers in changes.items():
        rows[tag] = (4, len(numbers), struct.pack(f"{order}{len(numbers)}I", *numbers))
        if not numbers:
            del rows[tag]
    place = len(data) + len(data) % 2
    outside = place + 2 + 12 * len(rows) + 4
    table, values = b"", b""
    for tag, (kind, count, content) in sorted(rows.items()):
        held = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack(order + "I", outside + len(values))
        table += struct.pack(order + "HHI", tag, kind, count) + held
        values += content + bytes(len(content) % 2) if len(content) > 4 else b""
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, place)
    return b"".join(
        (start, data[8:], bytes(len(data) % 2), struct.pack(order + "H", len(rows)), table, bytes(4), values)
    )


def _row(directory: Directory, tag: int, entry: Entry) -> tuple[int, int, bytes]:
    """Type, count and content of a tag, as a classic TIFF can hold them."""
    if entry.kind in (16, 18):
        try:
            return 4, entry.count, struct.pack(f"{directory.order}{entry.count}I", *directory.numbers(tag))
        except struct.error:
            raise broken("TIFF", "points behind its end") from None
    length = entry.count * UNITS.get(entry.kind, 8)
    return entry.kind, entry.count, directory.data[entry.place : entry.place + length]


def _number(data: bytes, place: int, form: str) -> int:
    try:
        return int(struct.unpack_from(form, data, place)[0])
    except (struct.error, OverflowError):
        raise broken("TIFF", "points behind its end") from None
