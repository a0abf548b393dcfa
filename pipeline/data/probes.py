"""Changes that no training sees and no gate reads, made to ask a network what it looks at.

As those of `pipeline.robustness`, each takes and gives uint8 [images, side, side].
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.cbook import get_sample_data
from PIL import Image, ImageDraw, ImageFont

from pipeline.data.imaging import read_pixels, resize

Change = Callable[[np.ndarray], np.ndarray]

SHIFT = 2  # pixels
NOISE = 0.005  # of the full range: the standard deviation of Gaussian noise
NOISE_SEED = 0


def shift(right: int, down: int) -> Change:
    """Move by whole pixels; what comes in at an edge repeats the edge."""

    def change(images: np.ndarray) -> np.ndarray:
        side = images.shape[1]
        rows = np.clip(np.arange(side) - down, 0, side - 1)
        columns = np.clip(np.arange(side) - right, 0, side - 1)
        return images[:, rows[:, None], columns[None, :]]

    return change


def noise(share: float, seed: int) -> Change:
    """Add Gaussian noise whose standard deviation is a share of the full range."""

    def change(images: np.ndarray) -> np.ndarray:
        drawn = np.random.default_rng(seed).normal(0, 255 * share, images.shape)
        return np.rint(np.clip(images + drawn, 0, 255)).astype(np.uint8)

    return change


SMALL_CHANGES: dict[str, Change] = {
    "right_2_pixels": shift(SHIFT, 0),
    "down_2_pixels": shift(0, SHIFT),
    "noise_0.005": noise(NOISE, NOISE_SEED),
}


def without_frame(share: float) -> Change:
    """Black out `share` of the side at each of the four sides."""

    def change(images: np.ndarray) -> np.ndarray:
        return np.where(_frame(images.shape[1], share), 0, images).astype(np.uint8)

    return change


def frame_alone(share: float) -> Change:
    """Black out everything but a frame of `share` of the side at each of the four sides."""

    def change(images: np.ndarray) -> np.ndarray:
        return np.where(_frame(images.shape[1], share), images, 0).astype(np.uint8)

    return change


def _frame(side: int, share: float) -> np.ndarray:
    """True in the frame: bool [side, side]."""
    width = round(side * share)
    frame = np.ones((side, side), dtype=bool)
    frame[width : side - width, width : side - width] = False
    return frame


UNUSUAL: dict[str, Change] = {
    "inverted": lambda images: 255 - images,
    "turned by 90 degrees": lambda images: np.ascontiguousarray(np.rot90(images, 1, axes=(1, 2))),
    "turned by 180 degrees": lambda images: np.ascontiguousarray(np.rot90(images, 2, axes=(1, 2))),
}


def out_of_distribution(side: int) -> dict[str, np.ndarray]:
    """Single images that are no chest, by name, uint8 [side, side]: plain tones, a page of text, and what Matplotlib
    installs as sample data (a portrait, a drawing, a slice through a head by magnetic resonance)."""
    return {
        "black": np.zeros((side, side), np.uint8),
        "white": np.full((side, side), 255, np.uint8),
        "grey": np.full((side, side), 127, np.uint8),
        "page of text": _page(side),
        "portrait": read_pixels(Path(get_sample_data("grace_hopper.jpg", asfileobj=False)), side),
        "drawing": read_pixels(Path(get_sample_data("Minduka_Present_Blue_Pack.png", asfileobj=False)), side),
        "head by magnetic resonance": _head(side),
    }


def _head(side: int) -> np.ndarray:
    with get_sample_data("s1045.ima.gz") as stream:  # type: ignore[union-attr]
        slice_ = np.frombuffer(stream.read(), np.uint16).reshape(256, 256)
    return resize((255.0 * slice_ / slice_.max()).astype(np.uint8), side)


def _page(side: int) -> np.ndarray:
    sheet = Image.new("L", (4 * side, 4 * side), 245)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(side // 5)
    for top in range(side // 4, 4 * side - side // 4, side // 4):
        pen.text((side // 4, top), "Findings: no film was enclosed with this letter.", fill=20, font=font)
    return np.asarray(sheet.resize((side, side), Image.Resampling.BILINEAR))
