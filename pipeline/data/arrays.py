"""Pixels stored once: one memory-mapped array file for each part of the data set."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.data.imaging import read_pixels
from pipeline.files import atomic_file

CHUNK = 256  # pictures in flight: memory stays flat however many there are


def write_array(pictures: Sequence[Path], side: int, target: Path) -> None:
    """Decode pictures on all cores into uint8 [pictures, side, side] at `target`, in the given order.

    Decoding and resizing release the interpreter's lock, so threads are enough.

    Raises:
        UnreadablePicture: one of them cannot be decoded.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(pictures), side, side)}
    with (
        atomic_file(target) as temporary,
        temporary.open("wb") as stream,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(pictures), desc=target.stem, unit="picture") as progress,
    ):
        # Written as a stream: the pages of a memory map would all count as this process's memory.
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, len(pictures), CHUNK):
            chunk = pictures[start : start + CHUNK]
            for pixels in pool.map(lambda path: read_pixels(path, side), chunk):
                stream.write(pixels.tobytes())
            progress.update(len(chunk))
