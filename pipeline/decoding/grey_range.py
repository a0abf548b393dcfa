"""Black and white of an image that does not say them: the range of its type where it fills that, else its own span."""

import math
from typing import NamedTuple

import numpy as np

from pipeline.decoding.levels import Ends, Levels

# An image fills a range when black lies at most this share above the range's dark end, and white below its bright end.
# Of the training images as they are, 98.7 % fill the range of 8 bits so.
DARK, BRIGHT = 0.1, 0.3


class Range(NamedTuple):
    """The values that are shown black and white, in this order or the other."""

    low: float
    high: float

    def brightness(self, values: np.ndarray) -> np.ndarray:
        """From 0 at `low` to 1 at `high`; 0 everywhere where they are equal."""
        span = self.high - self.low
        return (values - self.low) / span if span > 0 else np.zeros_like(values)


def natural(ends: Ends) -> Range:
    """The smallest range of a type that holds the values: 0 to 1, 0 to 2^n - 1, or -2^n to 2^n - 1."""
    low, high = ends.low, ends.high
    if low >= 0 and high <= 1:
        return Range(0.0, 1.0)
    if low >= 0:
        return Range(0.0, 2.0 ** bits(high) - 1)
    half = 2.0 ** max(bits(high), bits(-low - 1))
    return Range(-half, half - 1)


def bits(value: float) -> int:
    """How many bits hold the whole numbers from 0 to `value`."""
    return math.ceil(math.log2(value + 1)) if value > 0 else 0


def choose(ends: Ends, inverted: bool = False, stated: Range | None = None) -> Range:
    """The range that an image is shown in.

    Args:
        ends: of the image.
        inverted: small values are bright.
        stated: the range of values that are possible, where it is known.

    Returns:
        `stated`, or the natural range of the values, where the image fills it, so that a dim image stays dim; else the
        image's own span.
    """
    for candidate in (stated, natural(ends)):
        if candidate and _fills(ends, candidate, inverted):
            return candidate
    return Range(ends.low, ends.high)


def _fills(ends: Ends, candidate: Range, inverted: bool) -> bool:
    span = candidate.high - candidate.low
    below, above = (ends.low - candidate.low) / span, (candidate.high - ends.high) / span
    dark, bright = (above, below) if inverted else (below, above)
    return 0 <= dark <= DARK and 0 <= bright <= BRIGHT


def to_grey(levels: Levels, inverted: bool, depth: int | None) -> tuple[np.ndarray, list[str]]:
    """An image without a stated window in 8 bits, uint8 [height, width], and warnings.

    One that uses all of its bits, or numbers from 0 to 1, has the range of its type, as PNG and TIFF define it, however dim
    it is; of any other the range is a guess.

    Args:
        levels: the image.
        inverted: small values are bright.
        depth: bits of an unsigned pixel, or None where the type is another.
    """
    ends = levels.ends()
    warnings = outlier_warnings(ends)
    used = bits(ends.high)
    if depth and inverted:
        used = min(used, bits(2**depth - 1 - ends.low))  # small numbers may have been inverted within the whole range
    if depth and used < depth:
        warnings.append(f"the image uses {used} of its {depth} bits: its grey range was taken from its values")
    uses_all = used == depth if depth else ends.low >= 0 and 0.5 < ends.high <= 1
    chosen = natural(ends) if uses_all else choose(ends, inverted)
    brightness = chosen.brightness(levels.numbers)
    return levels.paint(1 - brightness if inverted else brightness, outside(ends, levels.numbers)), warnings


def outside(ends: Ends, numbers: np.ndarray) -> np.ndarray | None:
    """Which of the numbers do not count for the range, bool; None where no pixel has such a one."""
    return (numbers < ends.low) | (numbers > ends.high) if ends.outliers else None


def outlier_warnings(ends: Ends) -> list[str]:
    """What to say of pixels that were clipped."""
    if not ends.outliers:
        return []
    return [f"pixels far outside the range of all others, which do not count for it: {ends.outliers}"]
