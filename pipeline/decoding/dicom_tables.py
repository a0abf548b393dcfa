"""Lookup tables of DICOM sequences: modality LUT (PS3.3, C.11.1) and VOI LUT (C.11.2)."""

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from pipeline.decoding.dicom_values import numbers, value

MAX_ENTRIES = 2**16


@dataclass(frozen=True)
class Table:
    """Entries float64 [n] for the whole numbers from `first` on; numbers outside take the nearest entry."""

    first: int
    entries: np.ndarray

    @property
    def largest(self) -> float:
        """The largest entry: what is shown white, however many bits the descriptor claims."""
        return float(self.entries.max())

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The entries of values of any shape."""
        first = self.first
        if first >= MAX_ENTRIES // 2 and values.min() < 0:
            first -= MAX_ENTRIES  # a negative number that was written without its sign
        place = np.clip(np.rint(values) - first, 0, len(self.entries) - 1)
        return self.entries[place.astype(np.int64)]


def tables(data: Dataset, keyword: str) -> list[Table]:
    """The usable tables of a sequence; items without data, or of zeros alone, are left out."""
    read = (_table(item, little_endian=data.original_encoding[1]) for item in value(data, keyword) or ())
    return [table for table in read if table is not None]


def _table(item: Dataset, little_endian: bool | None) -> Table | None:
    descriptor = numbers(item, "LUTDescriptor")
    content = value(item, "LUTData")
    if len(descriptor) != 3 or content is None:
        return None
    length = int(descriptor[0]) % MAX_ENTRIES or MAX_ENTRIES
    if isinstance(content, bytes):
        entries = _unpacked(content, length, little_endian is not False)
    else:
        entries = np.atleast_1d(np.asarray(content, dtype=np.int64)) % MAX_ENTRIES
    entries = entries[:length].astype(np.float64)
    if not entries.size or entries.max() <= 0:
        return None
    return Table(int(descriptor[1]), entries)


def _unpacked(content: bytes, length: int, little_endian: bool) -> np.ndarray:
    """Entries of 16 bits, or, where the data have room for no more, of 8."""
    if len(content) >= 2 * length or len(content) > length + 1:
        return np.frombuffer(content[: len(content) // 2 * 2], "<u2" if little_endian else ">u2")
    if not little_endian and len(content) % 2 == 0:
        return np.frombuffer(content, "<u2").byteswap().view(np.uint8)
    return np.frombuffer(content, np.uint8)
