"""The same work on many items, on all cores, in order, with a progress bar and in memory that does not grow."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH = 512  # items in flight


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], total: int, name: str, unit: str = "image"
) -> Iterator[Result]:
    """`work` of each item, in their order; threads, since decoding, hashing and numpy leave Python's lock alone."""
    remaining = iter(items)
    with ThreadPoolExecutor(os.cpu_count()) as pool, tqdm(total=total, desc=name, unit=unit, disable=None) as bar:
        while batch := list(islice(remaining, BATCH)):
            for result in pool.map(work, batch):
                yield result
                bar.update()
