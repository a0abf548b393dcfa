"""Pixels stored once: one memory-mapped array file for each part of the data set."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.data.imaging import read_pixels
from pipeline.files import atomic_file

CHUNK = 256  # images in flight: memory stays flat however many there are


def write_array(images: Sequence[Path], side: int, target: Path) -> None:
    """Decode images on all cores into uint8 [images, side, side] at `target`, in the given order.

    Decoding and resizing release the interpreter's lock, so threads are enough.

    Raises:
        UnreadableImage: one of them cannot be decoded.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(images), side, side)}
    with (
        atomic_file(target) as temporary,
        temporary.open("wb") as stream,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(images), desc=target.stem, unit="image") as progress,
    ):
        # Written as a stream: the pages of a memory map would all count as this process's memory.
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, len(images), CHUNK):
            chunk = images[start : start + CHUNK]
            for pixels in pool.map(lambda path: read_pixels(path, side), chunk):
                stream.write(pixels.tobytes())
            progress.update(len(chunk))
