"""Sums over images that are seen once: what is kept does not grow with their number."""

from collections.abc import Sequence

import numpy as np


class Moments:
    """Mean and standard deviation of every pixel (Welford, Technometrics 1962, doi:10.1080/00401706.1962.10490022)."""

    def __init__(self, side: int) -> None:
        self.count = 0
        self.mean = np.zeros((side, side))
        self._squares = np.zeros((side, side))

    def add(self, image: np.ndarray) -> None:
        """Take in one image, uint8 [side, side]."""
        self.count += 1
        before = image - self.mean
        self.mean += before / self.count
        self._squares += before * (image - self.mean)

    def deviation(self) -> np.ndarray:
        """Standard deviation over the images so far, float64 [side, side], in grey values; 0 without any."""
        return np.sqrt(self._squares / max(self.count, 1))


class Counts:
    """How many values fall between fixed edges; what lies outside counts in the first or the last bin."""

    def __init__(self, edges: Sequence[float] | np.ndarray) -> None:
        self.edges = np.asarray(edges, dtype=np.float64)
        self.counts = np.zeros(len(self.edges) - 1, dtype=np.int64)

    def add(self, value: float) -> None:
        """Count one value."""
        place = int(np.searchsorted(self.edges, value, side="right")) - 1
        self.counts[min(max(place, 0), len(self.counts) - 1)] += 1

    def shares(self) -> np.ndarray:
        """Share of all values in each bin, float64 [bins]; zeros without any."""
        return self.counts / max(self.counts.sum(), 1)
