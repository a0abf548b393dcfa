"""What can be done to images: functions from uint8 [images, side, side] to the same shape and type.

Each changes an image by itself and does the same at every call. Where noise is drawn, the generator is seeded with the
image's own pixels (CRC-32), so that the batch and the place in it do not matter.
"""

import io
import zlib
from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

Function = Callable[[np.ndarray], np.ndarray]
Edge = Literal["left", "right", "top", "bottom"]

WHITE = 255
REACH = 0.8  # of the side: how far a shadow over one side is seen
LETTER_R = ("####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#")
ELECTRODES = ((0.30, 0.30), (0.70, 0.30), (0.66, 0.60))  # across, down; shares of the side
KNOT, PLUG = (0.50, 0.75), (0.45, 1.0)  # where the wires meet, where they leave the image


def gamma(exponent: float) -> Function:
    """Grey values to a power: below 1 lightens, above 1 darkens."""
    table = np.rint(255.0 * (np.arange(256) / 255.0) ** exponent).astype(np.uint8)
    return lambda images: table[images]


def contrast(factor: float) -> Function:
    """Distances from each image's mean, times `factor`."""

    def change(images: np.ndarray) -> np.ndarray:
        means = images.mean(axis=(1, 2), keepdims=True)
        return _to_uint8(means + factor * (images - means))

    return change


def brightness(share: float) -> Function:
    """Add a share of the full range."""
    return lambda images: _to_uint8(images + 255.0 * share)


def stretch(wide: float, high: float) -> Function:
    """Enlarge about the centre by `wide` and `high` (at least 1) and cut back to the frame: another aspect ratio."""

    def change(image: Image.Image) -> Image.Image:
        side = image.width
        across, down = side / wide, side / high
        box = ((side - across) / 2, (side - down) / 2, (side + across) / 2, (side + down) / 2)
        return image.resize((side, side), Image.Resampling.BILINEAR, box=box)

    return _each_image(change)


def side_bars(share: float) -> Function:
    """Black bars over `share` of the width on the left and on the right."""

    def change(images: np.ndarray) -> np.ndarray:
        changed = images.copy()
        width = round(images.shape[2] * share)
        changed[:, :, :width] = 0
        changed[:, :, images.shape[2] - width :] = 0
        return changed

    return change


def blur(radius: float) -> Function:
    """Gaussian blur; the radius is the standard deviation in pixels."""
    return _each_image(lambda image: image.filter(ImageFilter.GaussianBlur(radius)))


def motion(share: float) -> Function:
    """The mean over `share` of the height, up and down: the child breathed or moved."""

    def change(images: np.ndarray) -> np.ndarray:
        side = images.shape[1]
        length = max(2, round(side * share))
        before = length // 2
        padded = np.pad(images.astype(np.uint32), ((0, 0), (before, length - 1 - before), (0, 0)), "edge")
        total = sum(padded[:, start : start + side] for start in range(length))
        return ((total + length // 2) // length).astype(np.uint8)

    return change


def jpeg(quality: int) -> Function:
    """Encode as JPEG and decode again."""

    def change(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return _each_image(change)


def poisson(quanta: float) -> Function:
    """Quantum noise: each pixel is drawn from a Poisson distribution in which white stands for `quanta` quanta."""

    def change(image: np.ndarray) -> np.ndarray:
        return _to_uint8(_generator(image).poisson(image * (quanta / 255.0)) * (255.0 / quanta))

    return _each(change)


def grid_lines(amplitude: float, period: float) -> Function:
    """An anti-scatter grid: grey values times a cosine about 1 across the image; the period is in pixels."""

    def change(images: np.ndarray) -> np.ndarray:
        wave = np.cos(2 * np.pi * np.arange(images.shape[2]) / period)
        return _to_uint8(images * (1 + amplitude * np.round(wave, 6)))  # rounded: the last bit differs between machines

    return change


def dead_rows(count: int) -> Function:
    """`count` rows of dead (black) pixels at equal distances."""

    def change(images: np.ndarray) -> np.ndarray:
        side = images.shape[1]
        changed = images.copy()
        changed[:, (2 * np.arange(count) + 1) * side // (2 * count)] = 0
        return changed

    return change


def dead_pixels(share: float) -> Function:
    """A random `share` of the pixels is dead (black)."""
    return _each(lambda image: np.where(_generator(image).random(image.shape) < share, np.uint8(0), image))


def marker(share: float) -> Function:
    """A white R, `share` of the height tall, burnt into the upper left corner."""
    letter = np.array([[pixel == "#" for pixel in line] for line in LETTER_R])

    def change(images: np.ndarray) -> np.ndarray:
        side = images.shape[1]
        tall, margin = round(side * share), round(0.05 * side)
        wide = round(tall * letter.shape[1] / letter.shape[0])
        shape = letter[np.arange(tall) * letter.shape[0] // tall][:, np.arange(wide) * letter.shape[1] // wide]
        changed = images.copy()
        changed[:, margin : margin + tall, margin : margin + wide][:, shape] = WHITE
        return changed

    return change


def leads(width: float) -> Function:
    """Three ECG electrodes and their wires over the chest, in white; `width` of a wire as a share of the side."""

    def change(images: np.ndarray) -> np.ndarray:
        side = images.shape[1]
        down, across = (np.mgrid[:side, :side] + 0.5) / side
        covered = _distance(across, down, KNOT, PLUG) < width / 2
        for electrode in ELECTRODES:
            covered |= _distance(across, down, electrode, KNOT) < width / 2
            covered |= np.hypot(across - electrode[0], down - electrode[1]) < 2 * width
        changed = images.copy()
        changed[:, covered] = WHITE
        return changed

    return change


def shadow(depth: float, edge: Edge) -> Function:
    """Darken one side: the grey value loses `depth` of itself at the edge, and nothing at `REACH` of the way across."""
    return lambda images: _to_uint8(images * (1 - depth * _towards(edge, images.shape[1])))


def haze(depth: float, edge: Edge) -> Function:
    """Lighten one side: the grey value comes nearer to white by `depth` at the edge, as `shadow` falls off."""
    return lambda images: _to_uint8(images + depth * _towards(edge, images.shape[1]) * (255.0 - images))


def _towards(edge: Edge, side: int) -> np.ndarray:
    """1 at an edge, falling smoothly to 0 at `REACH` of the side: float64, shaped to multiply [images, side, side]."""
    linear = np.clip(1 - (np.arange(side) + 0.5) / (REACH * side), 0, 1)
    smooth = 3 * linear**2 - 2 * linear**3
    smooth = smooth[::-1] if edge in ("right", "bottom") else smooth
    return smooth[None, :] if edge in ("left", "right") else smooth[:, None]


def _distance(across: np.ndarray, down: np.ndarray, start: tuple[float, float], end: tuple[float, float]) -> np.ndarray:
    """From each place to the line between two points."""
    x, y = end[0] - start[0], end[1] - start[1]
    along = np.clip(((across - start[0]) * x + (down - start[1]) * y) / (x * x + y * y), 0, 1)
    return np.hypot(across - start[0] - along * x, down - start[1] - along * y)


def _generator(image: np.ndarray) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(image.tobytes()))


def _each(change: Function) -> Function:
    return lambda images: np.stack([change(image) for image in images])


def _each_image(change: Callable[[Image.Image], Image.Image]) -> Function:
    return _each(lambda image: np.asarray(change(Image.fromarray(image))))


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
