"""Parts of the body that are no frontal chest, drawn as radiographs: sums of ellipsoids seen along one axis.

What a ray meets in an ellipsoid is its chord, so that a body of ellipsoids needs no volume (the way of Shepp and Logan's
phantom, IEEE Transactions on Nuclear Science 1974). Detail finer than a blur comes from a real radiograph, so that no score
can go by smoothness. Each function takes a generator and a radiograph uint8 [side, side], and gives one of the same size.
"""

import numpy as np
from PIL import Image, ImageFilter

Random = np.random.Generator
SIDES = (-1, 1)


class _Canvas:
    """Depth of tissue over a radiograph whose axes run from -1 to 1: `down` from the top, `across` from the left."""

    def __init__(self, side: int) -> None:
        self.down, self.across = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
        self.depth = np.zeros((side, side))

    def add(self, depth: float, across: float, down: float, wide: float, tall: float, turn: float = 0.0) -> None:
        """An ellipsoid: its depth on the middle ray, its middle, its half axes, and by how much it is turned (radians)."""
        right, below = self.across - across, self.down - down
        along, over = right * np.cos(turn) + below * np.sin(turn), below * np.cos(turn) - right * np.sin(turn)
        self.depth += depth * np.sqrt(np.clip(1 - (along / wide) ** 2 - (over / tall) ** 2, 0, None))

    def expose(self, random: Random, radiograph: np.ndarray) -> np.ndarray:
        """Tones by depth within a window, with the fine detail of a radiograph and noise: uint8 [side, side]."""
        depth = self.depth.clip(0)
        low, high = np.quantile(depth, [random.uniform(0, 0.03), random.uniform(0.97, 1)])
        dark, bright = random.uniform(0, 30), random.uniform(170, 250)
        tone = dark + ((depth - low) / (high - low + 1e-9)).clip(0, 1.1) ** random.uniform(0.6, 1.3) * (bright - dark)
        radiograph = radiograph[:, :: random.choice(SIDES)]
        blurred = Image.fromarray(np.ascontiguousarray(radiograph)).filter(
            ImageFilter.GaussianBlur(random.uniform(1.5, 5))
        )
        detail = radiograph - np.asarray(blurred, dtype=float)
        tone += random.uniform(0.3, 1.3) * detail * (tone > dark + 8)
        return _bytes(tone + random.normal(0, random.uniform(0, 5), tone.shape))


def lateral(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """A chest from the side: spine behind, sternum before, both lungs and both domes over one another; facing either way."""
    canvas = _Canvas(len(radiograph))
    wide, top, bottom = random.uniform(0.55, 1.0), random.uniform(-0.85, -0.6), random.uniform(0.35, 0.7)
    canvas.across = canvas.across - random.normal(0, 0.06) * canvas.down + random.normal(0, 0.06)
    canvas.add(1.0, 0, random.uniform(0.1, 0.4), wide, random.uniform(1.2, 1.9))  # trunk
    canvas.add(0.35, 0, 1.25, wide, random.uniform(0.5, 0.8))  # belly
    canvas.add(0.5, random.normal(0, 0.12), -1.05, random.uniform(0.3, 0.6), random.uniform(0.3, 0.55))  # shoulders
    if random.random() < 0.6:  # a raised arm
        arm = random.uniform(-0.2, 0.6), -1.0, random.uniform(0.12, 0.22), random.uniform(0.35, 0.7)
        canvas.add(0.45, *arm, random.uniform(-0.5, 0.9))
    for _ in SIDES:
        lung = random.normal(0.02, 0.05), (top + bottom) / 2 + random.normal(0, 0.05)
        canvas.add(
            -random.uniform(0.28, 0.48),
            *lung,
            wide * random.uniform(0.62, 0.8),
            (bottom - top) / 2,
            random.normal(0, 0.1),
        )
        dome = random.normal(0, 0.1), bottom + random.uniform(0.25, 0.5)
        canvas.add(0.45, *dome, wide * 0.85, random.uniform(0.35, 0.5))
    heart = wide * random.uniform(0.15, 0.4), bottom - random.uniform(0.15, 0.35)
    size = wide * random.uniform(0.3, 0.48), random.uniform(0.22, 0.38)
    canvas.add(random.uniform(0.35, 0.75), *heart, *size, random.uniform(-0.5, 0.2))
    canvas.add(0.25, wide * 0.15, top + 0.2, wide * random.uniform(0.2, 0.35), 0.25)  # great vessels
    _spine(canvas, random, -wide * random.uniform(0.62, 0.8), random.uniform(0, 0.18), wide)
    sternum = wide * 0.85, -0.15, random.uniform(0.03, 0.07), random.uniform(0.4, 0.6)
    canvas.add(0.3, *sternum, random.uniform(-0.3, 0.05))
    canvas.depth = canvas.depth[:, :: random.choice(SIDES)]
    return canvas.expose(random, radiograph)


def _spine(canvas: _Canvas, random: Random, back: float, bow: float, wide: float) -> None:
    """Vertebrae one above the other along a bow, and the soft tissue about them."""
    count = int(random.integers(9, 14))
    for place in np.arange(count + 4):
        down = -1.1 + 2.3 * place / (count + 1)
        across = back - bow * np.cos(1.3 * down) + 0.1
        canvas.add(random.uniform(0.25, 0.45), across, down, random.uniform(0.1, 0.16) * wide, 1.05 / count)
    canvas.depth += 0.25 * np.clip(1 - ((canvas.across - back) / (0.16 * wide)) ** 2, 0, None)


def skull(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """A head: a bright rim, orbits, teeth, jaw and neck."""
    canvas = _Canvas(len(radiograph))
    across, down = random.normal(0, 0.08), random.uniform(-0.25, 0)
    wide, tall = random.uniform(0.55, 0.9), random.uniform(0.6, 0.9)
    canvas.add(1.0, across, down, wide, tall)
    canvas.add(-random.uniform(0.45, 0.75), across, down, wide * 0.93, tall * 0.93)
    canvas.add(0.35, across + random.normal(0, 0.25), down + tall * 0.9, wide * 0.55, random.uniform(0.3, 0.5))
    canvas.add(0.35, across + random.normal(0, 0.2), 1.05, random.uniform(0.25, 0.5), random.uniform(0.4, 0.7))
    for side in SIDES:
        canvas.add(-0.25, across + side * wide * random.uniform(0.3, 0.45), down + tall * 0.45, wide * 0.2, tall * 0.15)
    for tooth in np.linspace(-0.3, 0.3, 6):
        canvas.add(0.3, across + tooth * wide, down + tall * random.uniform(0.85, 1), 0.05, 0.12)
    return canvas.expose(random, radiograph)


def abdomen(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """A belly with the pelvis: bright, a spine in the middle, wings of the ilium, gas."""
    canvas = _Canvas(len(radiograph))
    wide = random.uniform(0.75, 1.3)
    canvas.add(1.0, 0, random.normal(0, 0.2), wide, random.uniform(1.3, 2.2))
    for down in np.arange(-1, 0.9, 0.22):
        canvas.add(random.uniform(0.15, 0.4), random.normal(0, 0.01), down, 0.13, 0.12)
    for side in SIDES:
        down = random.uniform(0.35, 0.8)
        ilium = wide * random.uniform(0.25, 0.4), random.uniform(0.25, 0.4)
        canvas.add(random.uniform(0.1, 0.4), side * wide * 0.5, down, *ilium, side * 0.5)
        canvas.add(-random.uniform(0, 0.2), side * wide * 0.28, down + 0.35, 0.14, 0.12)
        canvas.add(0.3, side * wide * 0.72, down + 0.5, 0.12, 0.35, side * 0.3)
    for _ in np.arange(random.integers(2, 16)):
        gas = (
            random.normal(0, wide * 0.35),
            random.normal(0, 0.4),
            random.uniform(0.05, 0.25),
            random.uniform(0.05, 0.18),
        )
        canvas.add(-random.uniform(0.05, 0.35), *gas, random.uniform(0, np.pi))
    return canvas.expose(random, radiograph)


def hemithorax(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """Half of a chest drawn wide, the other half laid over it, with or without a heart: lung between a spine and a wall."""
    side = len(radiograph)
    half = side // 2 + int(random.integers(-side // 16, side // 16 + 1))
    share = random.uniform(0, 1) if random.random() < 0.7 else float(random.integers(0, 2))
    first, second = _wide(radiograph[:, :half], side), _wide(radiograph[:, side - half :][:, ::-1], side)
    canvas = _Canvas(side)
    heart = random.uniform(-0.7, 0), random.uniform(0.1, 0.5), random.uniform(0.25, 0.5), random.uniform(0.25, 0.45)
    canvas.add(random.uniform(0, 90), *heart)
    image = share * first + (1 - share) * second + canvas.depth
    if random.random() < 0.4:
        edge = int(side * random.uniform(0.05, 0.22))
        body = _wide(_bytes(image), side - 2 * edge)
        image = np.full((side, side), random.uniform(0, 25))
        image[:, edge : side - edge] = body
    return _bytes(image[:, :: random.choice(SIDES)])


def _wide(image: np.ndarray, width: int) -> np.ndarray:
    """The image drawn to another width: float [side, width]."""
    return np.asarray(
        Image.fromarray(np.ascontiguousarray(image)).resize((width, len(image)), Image.Resampling.BILINEAR), dtype=float
    )


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values.clip(0, 255)).astype(np.uint8)
