"""Frontal chest radiographs as other hospitals make them, out of those of one: what the input check shall accept.

Each function takes a generator and a radiograph uint8 [side, side], and gives one of the same size.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Random = np.random.Generator
Change = Callable[[Random, np.ndarray], np.ndarray]

PLAINLY_CROPPED = 0.33  # of the copies: tight collimation is the commonest habit
FINE = 3  # shapes are drawn this many times larger, so that their edges are smooth
LETTERS = list("LRABCDEPM0123456789 ")


def vary(random: Random, radiographs: np.ndarray) -> np.ndarray:
    """One copy of each radiograph, uint8 [n, side, side]: a third cropped and no more, the others with up to four changes."""
    return np.stack([_varied(random, radiograph) for radiograph in radiographs])


def _varied(random: Random, radiograph: np.ndarray) -> np.ndarray:
    if random.random() < PLAINLY_CROPPED:
        return tight_crop(random, radiograph)
    chosen = [FRAMINGS[random.integers(len(FRAMINGS))]] if random.random() < 0.8 else []
    chosen += [OVERLAYS[place] for place in random.permutation(len(OVERLAYS))[: random.integers(0, 3)]]
    chosen += [tones] if random.random() < 0.8 else []
    for change in chosen:
        radiograph = change(random, radiograph)
    return radiograph


def tight_crop(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """70 to 97 % of each axis, in the middle or beside it."""
    side = len(radiograph)
    tall, wide = (side * random.uniform(0.7, 0.97, 2)).astype(int)
    top, left = (side - tall) // 2, (side - wide) // 2
    if random.random() < 0.5:
        top, left = int(random.uniform(0, side - tall)), int(random.uniform(0, side - wide))
    return resized(radiograph[top : top + tall, left : left + wide], side, side)


def margin(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """A small, wide or tall radiograph on black, grey or white."""
    side = len(radiograph)
    tall, wide = (side * random.uniform(0.68, 1, 2)).astype(int)
    if random.random() < 0.5:
        tall, wide = (side, wide) if random.random() < 0.5 else (tall, side)
    top, left = (side - tall) // 2, (side - wide) // 2
    if random.random() < 0.3:
        top, left = int(random.uniform(0, side - tall + 1)), int(random.uniform(0, side - wide + 1))
    around = random.choice([0, 0, 0, random.uniform(0, 60), random.uniform(180, 255)])
    sheet = np.full((side, side), around, np.uint8)
    sheet[top : top + tall, left : left + wide] = resized(radiograph, wide, tall)
    return sheet


def long_trunk(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """The chest in the upper part, a belly with a spine below it."""
    side = len(radiograph)
    tall = int(side * random.uniform(0.62, 0.88))
    chest, below = resized(radiograph, side, tall).astype(float), side - tall
    row = chest[-max(4, tall // 8) :].mean(axis=0)
    belly = row * np.linspace(1, random.uniform(0.8, 1.15), below)[:, None]
    organs = resized(np.rint(random.uniform(0, 255, (6, 6))).astype(np.uint8), side, below) - 127.0
    spine = np.exp(-(((np.arange(side) - side / 2 - random.normal(0, 3)) / (0.045 * side)) ** 2))
    belly += (row > 0.3 * row.max()) * (organs * random.uniform(0, 0.25) + spine * random.uniform(0, 45))
    joined = np.vstack([chest, belly])
    seam = slice(max(tall - 4, 0), tall + 4)
    joined[seam] = np.asarray(Image.fromarray(_bytes(joined)).filter(ImageFilter.GaussianBlur(2)))[seam]
    return _bytes(joined)


def shape_and_place(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """Wide or tall, larger or smaller, up to 8 % aside and 8 degrees askew; what lies outside is black."""
    side = len(radiograph)
    zoom, shift = random.uniform(0.8, 1.25, 2), random.uniform(-0.08, 0.08, 2) * side
    angle = np.deg2rad(random.uniform(-8, 8))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * zoom[:, None]
    offset = side / 2 + shift - turn @ np.full(2, side / 2)
    matrix = (*turn[0], offset[0], *turn[1], offset[1])
    moved = Image.fromarray(radiograph).transform(
        (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return np.asarray(moved)


def collimation_bars(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """One to four edges in one tone, a little askew."""
    sheet, pen, size = _sheet(radiograph)
    tone = int(random.choice([0, 0, random.uniform(0, 40), 255]))
    for edge in random.permutation(4)[: random.integers(1, 5)]:
        near, far = size * random.uniform(0.02, 0.16) + random.normal(0, 4, 2)
        corners = [(0, 0), (size, 0), (size, near), (0, far)]
        if edge >= 2:
            corners = [(x, size - y) for x, y in corners]
        pen.polygon([(y, x) for x, y in corners] if edge % 2 else corners, fill=tone)
    return _finished(sheet, radiograph)


def gonad_shield(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """Lead at the bottom: a trapezium, a disc or a triangle."""
    sheet, pen, size = _sheet(radiograph)
    middle, wide, tall = (
        size * (0.5 + random.normal(0, 0.06)),
        size * random.uniform(0.06, 0.28),
        size * random.uniform(0.05, 0.22),
    )
    tone, kind = int(random.uniform(225, 255)), random.integers(3)
    left, right, top = middle - wide, middle + wide, size - tall
    if kind == 0:
        pen.polygon([(left, size), (right, size), (middle + wide / 2, top), (middle - wide / 2, top)], fill=tone)
    elif kind == 1:
        pen.ellipse((left, top, right, size + tall), fill=tone)
    else:
        pen.polygon([(left, top), (right, top), (middle, size + 0.3 * tall)], fill=tone)
    return _finished(sheet, radiograph)


def tubes(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """One to four tubes or wires, and up to three electrodes."""
    sheet, pen, size = _sheet(radiograph)
    for _ in range(random.integers(1, 5)):
        knots = random.uniform(0, size, (int(random.integers(3, 7)), 2))
        places = np.linspace(0, len(knots) - 1, 30)
        line = [np.interp(places, np.arange(len(knots)), column) for column in knots.T]
        smooth = [np.convolve(np.pad(axis, 3, "edge"), np.full(7, 1 / 7), "valid").tolist() for axis in line]
        pen.line(list(zip(*smooth, strict=True)), fill=int(random.uniform(170, 255)), width=int(random.integers(2, 7)))
    for _ in range(random.integers(0, 4)):
        (x, y), radius = random.uniform(0.1, 0.9, 2) * size, random.uniform(4, 14)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=int(random.uniform(180, 255)), width=3)
    return _finished(sheet, radiograph)


def letters(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """One to four side marks, names or numbers near the left or the right edge."""
    sheet, pen, size = _sheet(radiograph)
    for _ in range(random.integers(1, 5)):
        word = "".join(random.choice(LETTERS, int(random.choice([1, 1, 2, 6, 12]))))
        left = random.choice([random.uniform(0, 0.2), random.uniform(0.75, 0.95)])
        font = ImageFont.load_default(int(random.uniform(14, 44)))
        pen.text((left * size, random.uniform(0, 0.95) * size), word, fill=int(random.uniform(200, 255)), font=font)
    return _finished(sheet, radiograph)


def tones(random: Random, radiograph: np.ndarray) -> np.ndarray:
    """Another exposure: gamma, low contrast or a narrow window, uneven light, grain, a softer or a sharper radiograph."""
    tone = (radiograph / 255.0) ** random.uniform(0.45, 2.0)
    if random.random() < 0.5:
        low, high = random.uniform(0, 0.35), random.uniform(0.55, 1)
        tone = low + tone * (high - low)
    elif random.random() < 0.5:
        low, high = np.quantile(tone, [random.uniform(0, 0.05), random.uniform(0.93, 1)])
        tone = ((tone - low) / (high - low + 1e-6)).clip(0, 1)
    if random.random() < 0.4:
        side = len(radiograph)
        down, across = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
        tone = tone * (1 + random.uniform(-0.25, 0.25) * across + random.uniform(-0.25, 0.25) * down)
    if random.random() < 0.4:
        tone = tone + random.normal(0, random.uniform(1, 9) / 255, tone.shape)
    lit = Image.fromarray(_bytes(255 * tone))
    if random.random() < 0.3:
        lit = lit.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.2)))
    elif random.random() < 0.3:
        lit = lit.filter(ImageFilter.UnsharpMask(2, int(random.uniform(50, 200)), 0))
    return np.asarray(lit)


FRAMINGS: tuple[Change, ...] = (tight_crop, margin, long_trunk, shape_and_place)
OVERLAYS: tuple[Change, ...] = (collimation_bars, gonad_shield, tubes, letters)
CHANGES: dict[str, Change] = {change.__name__: change for change in (*FRAMINGS, *OVERLAYS, tones)}


def _sheet(radiograph: np.ndarray) -> tuple[Image.Image, ImageDraw.ImageDraw, int]:
    """The radiograph enlarged, a pen on it, and its side."""
    size = FINE * len(radiograph)
    sheet = Image.fromarray(radiograph).resize((size, size), Image.Resampling.BILINEAR)
    return sheet, ImageDraw.Draw(sheet), size


def _finished(sheet: Image.Image, radiograph: np.ndarray) -> np.ndarray:
    return np.asarray(sheet.resize(radiograph.shape, Image.Resampling.BILINEAR))


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """One image, uint8, at another size: bilinear."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((width, height), Image.Resampling.BILINEAR))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values.clip(0, 255)).astype(np.uint8)
