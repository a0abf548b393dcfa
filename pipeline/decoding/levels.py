"""An image of more than 8 bits as at most 65,536 levels: what a display makes of it is then one small table.

Modality, window and inversion are functions of a pixel's value alone, so they are computed once a level, not once a
pixel: exact, fast, and without a copy of the image in floating point.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.decoding.errors import UnreadableImage

STEPS = 2**16
BAND = 256  # rows that are worked on at once: a copy of the image in a wider type would take several times its size
SAMPLE = 500_000  # pixels that the percentiles of floating-point images are taken from
CENTRAL = (0.01, 0.99)  # the share of the pixels whose values are the image's own beyond doubt
# How far a value may lie outside the central ones, in widths of their span. At full size no training image reaches it
# (`python -m benchmarks.reader tones` measures the furthest); what lies further off is a hot or dead pixel, or a marker.
REACH = 0.8
MAX_ALONE = 1_000  # odd pixels that are looked at one by one; more of them are a marker or a region


def in_bands(function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """A function of whole rows, applied to some of them at a time: what it makes on the way stays small."""
    starts = range(0, len(arrays[0]), BAND)
    return np.concatenate([function(*(array[start : start + BAND] for array in arrays)) for start in starts])


class Ends(NamedTuple):
    """The smallest and the largest value of an image, and how many pixels lie too far outside to count."""

    low: float
    high: float
    outliers: int


@dataclass(frozen=True)
class Levels:
    """An image by the number of each pixel's level.

    `index`: uint16 [height, width]; `numbers`: float64 [levels], the value of each level, ascending; `counts`: int64
    [levels], pixels of each, blank ones left out; `blank`: bool [height, width] of pixels that are no image, or None;
    `outliers`: pixels that were clipped when the levels were made; `odd`: bool [height, width] of these and of pixels
    without a number, or None.
    """

    index: np.ndarray
    numbers: np.ndarray
    counts: np.ndarray
    blank: np.ndarray | None = None
    outliers: int = 0
    odd: np.ndarray | None = None

    def paint(self, brightness: np.ndarray, left_out: np.ndarray | None = None) -> np.ndarray:
        """The image in 8 bits, uint8 [height, width], from the brightness (0 to 1) of each level; blank is black.

        `left_out`: bool [levels] of those that do not count for the range, where there are pixels of them. Where a pixel of
        these, or an odd one, stands alone, it is shown as its neighbours.
        """
        table = np.rint(255 * np.clip(np.nan_to_num(brightness), 0, 1)).astype(np.uint8)
        grey = table[self.index]
        if self.blank is not None:
            grey[self.blank] = 0
        odd = self.odd
        if left_out is not None and left_out.any():
            far = left_out[self.index] if self.blank is None else left_out[self.index] & ~self.blank
            odd = far if odd is None else odd | far
        if odd is not None:
            _mend_lone(grey, odd)
        return grey

    def ends(self) -> Ends:
        """The range of the image, robust against a few pixels: see `REACH`."""
        limits = ends(self.numbers, self.counts)
        return limits._replace(outliers=limits.outliers + self.outliers)


def _mend_lone(grey: np.ndarray, odd: np.ndarray) -> None:
    """Give each odd pixel that has no odd neighbour the median of its neighbours."""
    if np.count_nonzero(odd) > MAX_ALONE:
        return
    for row, column in np.argwhere(odd):
        around = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
        others = grey[around][~odd[around]]
        if others.size and others.size == odd[around].size - 1:
            grey[row, column] = np.median(others)


def ends(numbers: np.ndarray, counts: np.ndarray) -> Ends:
    """The robust range of an image that has `counts` [levels] pixels of each of `numbers` [levels], in any order."""
    order = np.argsort(numbers, kind="stable")
    numbers, counts = numbers[order], counts[order]
    below = np.cumsum(counts)
    low, high = (numbers[np.searchsorted(below, share * below[-1])] for share in CENTRAL)
    reach = _reach(low, high)
    inside = (counts > 0) & (numbers >= low - reach) & (numbers <= high + reach)
    kept = numbers[inside]
    return Ends(float(kept[0]), float(kept[-1]), int(below[-1] - counts[inside].sum()))


def of_integers(values: np.ndarray, blank: np.ndarray | None = None) -> Levels:
    """The levels of whole numbers [height, width] of at most 16 bits.

    Raises:
        UnreadableImage: nothing but blank pixels.
    """
    first = int(values.min())
    last = int(values.max())
    index = values.astype(np.uint16) - np.uint16(first & 0xFFFF)  # modulo 65,536: right for signed values too
    counts = np.zeros(last - first + 1, np.int64)
    for start in range(0, len(index), BAND):
        rows = slice(start, start + BAND)
        shown = index[rows] if blank is None else index[rows][~blank[rows]]
        counts += np.bincount(shown.ravel(), minlength=len(counts))
    if not counts.any():
        raise UnreadableImage("undecodable", "the image holds no pixel that is image")
    return Levels(index, np.arange(first, last + 1, dtype=np.float64), counts, blank)


def of_any(values: np.ndarray, blank: np.ndarray | None = None) -> Levels:
    """The levels of numbers of any type [height, width]; what is no number becomes blank, infinity the nearer end.

    Raises:
        UnreadableImage: no finite number.
    """
    if values.dtype.kind in "iub" and int(values.max()) - int(values.min()) < STEPS:
        return of_integers(values, blank)
    nothing = np.isnan(values)
    blank = nothing if blank is None else blank | nothing
    low, high, outliers = _float_ends(values, blank)
    odd = nothing | (values < low) | (values > high) if outliers or nothing.any() else None
    step = (high - low) / (STEPS - 1) or 1.0
    index = np.empty(values.shape, np.uint16)
    counts = np.zeros(STEPS, np.int64)
    for start in range(0, len(values), BAND):
        rows = slice(start, start + BAND)
        place = np.nan_to_num((np.clip(values[rows], low, high).astype(np.float64) - low) / step)
        index[rows] = np.rint(place)
        counts += np.bincount(index[rows][~blank[rows]], minlength=STEPS)
    return Levels(index, low + step * np.arange(STEPS), counts, blank if blank.any() else None, outliers, odd)


def _float_ends(values: np.ndarray, blank: np.ndarray) -> Ends:
    flat = values.ravel()
    sample = flat[:: max(1, flat.size // SAMPLE)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        raise UnreadableImage("undecodable", "the image holds no finite number")
    low, high = np.quantile(sample, CENTRAL, method="inverted_cdf")
    reach = _reach(low, high)
    smallest, largest, kept = np.inf, -np.inf, 0
    for start in range(0, len(values), BAND):
        band = values[start : start + BAND]
        inside = np.isfinite(band) & (band >= low - reach) & (band <= high + reach) & ~blank[start : start + BAND]
        if inside.any():
            smallest, largest = min(smallest, float(band[inside].min())), max(largest, float(band[inside].max()))
            kept += int(inside.sum())
    return Ends(smallest, largest, int(values.size - blank.sum()) - kept)


def _reach(low: float, high: float) -> float:
    """How far outside the central values a value may lie; without limit where those are all equal."""
    return REACH * (high - low) if high > low else np.inf
