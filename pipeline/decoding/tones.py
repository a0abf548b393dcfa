"""Warnings about the grey values of an image as the network will see it: dim, nearly black and white, or mostly border.

The bounds are fitted on the training images alone; `python -m benchmarks.reader tones` prints whom they touch.
"""

from bisect import bisect_left
from itertools import accumulate

import numpy as np
from PIL import Image

MIN_SPAN = 120  # of 255, between the 1st and the 99th percentile
MIN_GREY = 0.4  # share of the pixels that are neither black nor white
MAX_BORDER = 0.2  # share of the area outside the innermost plain line of each side
BLACK, WHITE = 16, 239
PLAIN = 10  # a line is plain when its values lie no further apart: a border, but for the noise of a JPEG
TAIL = 0.01


def warnings(pixels: np.ndarray) -> list[str]:
    """What is odd about an image, uint8 [height, width]."""
    messages = []
    below = list(accumulate(Image.fromarray(pixels).histogram()))  # pixels of each grey level or a darker one
    span = bisect_left(below, (1 - TAIL) * pixels.size) - bisect_left(below, TAIL * pixels.size)
    if span < MIN_SPAN:
        messages.append(f"the image fills a small part of the grey range: {span} of 255")
    grey = (below[WHITE] - below[BLACK - 1]) / pixels.size
    if grey < MIN_GREY:
        messages.append(f"the image is nearly black and white: {grey:.0%} of its pixels are grey")
    border = border_share(pixels)
    if border > MAX_BORDER:
        messages.append(f"a plain border covers {border:.0%} of the image")
    return messages


def border_share(pixels: np.ndarray) -> float:
    """The share of the area that lies in plain lines along the four sides."""
    top, bottom = _plain_lines(pixels), _plain_lines(pixels[::-1])
    height = len(pixels) - top - bottom
    if height <= 0:
        return 1.0
    inner = pixels[top : top + height].T
    left, right = _plain_lines(inner), _plain_lines(inner[::-1])
    width = max(len(inner) - left - right, 0)
    return 1 - height * width / pixels.size


def _plain_lines(lines: np.ndarray) -> int:
    """How many lines are plain before the first that is not."""
    for number, line in enumerate(lines):
        values = line.tobytes()  # of so few, bytes are faster than an array, and two of them often suffice
        if abs(values[0] - values[len(values) // 2]) > PLAIN or max(values) - min(values) > PLAIN:
            return number
    return len(lines)
