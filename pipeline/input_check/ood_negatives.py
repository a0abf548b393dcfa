"""Out-of-distribution negatives: images that are no frontal chest radiograph, made up, kind by kind.

Nothing is downloaded and no patient's image is kept; `turned`, `negative` and `cropped` are made from the radiographs given.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pipeline.input_check import drawn_bodies

Maker = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def make(kind: str, count: int, chest: np.ndarray, seed: int) -> np.ndarray:
    """`count` images of a kind, uint8 [count, side, side], the size of the radiographs `chest` uint8 [n, side, side]."""
    random = np.random.default_rng([seed, sorted(KINDS).index(kind)])
    images = chest[random.integers(0, len(chest), count)]
    return np.stack([KINDS[kind](random, image) for image in images])


def _turned(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return np.rot90(image, int(random.integers(1, 4)))


def _negative(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return 255 - image


def _cropped(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    side = len(image)
    size = int(side * random.uniform(0.2, 0.5))
    left, top = random.integers(0, side - size, 2)
    return _resized(Image.fromarray(image[top : top + size, left : left + size]), side)


def _blank(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """One tone, or a ramp, with a little noise."""
    side = len(image)
    direction = random.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    ramp = rows * np.sin(direction) + columns * np.cos(direction)
    ramp = random.choice([-1, 1]) * np.hypot(rows, columns) if random.random() < 0.5 else ramp
    tone = random.uniform(0, 255) + random.choice([0, random.uniform(0, 120)]) * ramp
    return _bytes(tone + random.normal(0, random.uniform(0, 6), tone.shape))


def _noise(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Noise whose spectrum falls with a power of the frequency: from snow to clouds."""
    side = len(image)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    frequency[0, 0] = 1 / side
    spectrum = np.fft.fft2(random.normal(size=(side, side))) / frequency ** random.uniform(0, 2.5)
    field = np.fft.ifft2(spectrum).real
    return _bytes(127 + random.uniform(20, 80) * (field - field.mean()) / field.std())


def _text(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Lines of letters on paper, or light on dark."""
    side = len(image)
    paper, ink = (random.uniform(180, 255), random.uniform(0, 90))
    if random.random() < 0.3:
        paper, ink = ink, paper
    scale = 3
    sheet = Image.new("L", (scale * side, scale * side), int(paper))
    pen = ImageDraw.Draw(sheet)
    size = int(random.uniform(10, 60))
    font = ImageFont.load_default(size)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz    ABCDEFGHIJ0123456789.,"))
    for top in range(int(random.uniform(0, size)), scale * side, int(size * random.uniform(1.1, 2))):
        line = "".join(random.choice(letters, int(random.uniform(2, 6 * side / size))))
        pen.text((int(random.uniform(0, size * 2)), top), line, fill=int(ink), font=font)
    return _resized(sheet, side)


def _shapes(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Overlapping shapes of all sizes: the "dead leaves" model of photographs (Lee, Mumford, Huang, IJCV 2001)."""
    side = len(image)
    sheet = Image.new("L", (2 * side, 2 * side), int(random.uniform(0, 255)))
    pen = ImageDraw.Draw(sheet)
    for _ in range(int(random.uniform(5, 150))):
        radius = min(side * 0.03 / random.uniform(0.02, 1), side * 1.2)
        x, y = random.uniform(0, 2 * side, 2)
        box = (x - radius, y - radius * random.uniform(0.3, 1), x + radius, y + radius * random.uniform(0.3, 1))
        draw = pen.ellipse if random.random() < 0.5 else pen.rectangle
        draw(box, fill=int(random.uniform(0, 255)))
    return _textured(random, sheet.filter(ImageFilter.GaussianBlur(random.uniform(0, 3))), side)


def _slices(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A cut through a body as CT or MR shows it: an outline on black, organs inside."""
    side = len(image)
    sheet = Image.new("L", (2 * side, 2 * side), int(random.uniform(0, 30)))
    pen = ImageDraw.Draw(sheet)
    width, height = side * random.uniform(0.5, 0.97, 2)
    rim = random.uniform(0, 0.12)
    pen.ellipse((side - width, side - height, side + width, side + height), fill=int(random.uniform(60, 255)))
    width, height = width * (1 - rim), height * (1 - rim)
    pen.ellipse((side - width, side - height, side + width, side + height), fill=int(random.uniform(30, 200)))
    for _ in range(int(random.uniform(2, 14))):
        x, y = side + width * random.uniform(-0.6, 0.6), side + height * random.uniform(-0.6, 0.6)
        a, b = side * random.uniform(0.04, 0.35, 2)
        pen.ellipse((x - a, y - b, x + a, y + b), fill=int(random.uniform(0, 255)))
    return _textured(random, sheet.filter(ImageFilter.GaussianBlur(random.uniform(0.5, 4))), side)


def _limbs(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Long bones in soft tissue on black: hands, arms, legs, side views of a spine."""
    side = len(image)
    sheet = np.zeros((2 * side, 2 * side))
    rows, columns = np.mgrid[0 : 2 * side, 0 : 2 * side]
    count = int(random.integers(1, 6))
    heading = random.uniform(-0.5, 0.5) + random.choice([0, np.pi / 2])
    for place in range(count):
        angle = heading + random.normal(0, 0.15)
        offset = (place - (count - 1) / 2) * side * random.uniform(0.25, 0.5)
        along = (rows - side) * np.cos(angle) + (columns - side) * np.sin(angle)
        across = (columns - side) * np.cos(angle) - (rows - side) * np.sin(angle) - offset
        reach, flesh = side * random.uniform(0.5, 1.5), side * random.uniform(0.1, 0.35)
        bone = flesh * random.uniform(0.3, 0.6)
        inside = np.clip((reach - np.abs(along)) / (0.2 * side), 0, 1)
        sheet += inside * random.uniform(40, 110) * np.clip((flesh - np.abs(across)) / (0.3 * flesh), 0, 1)
        knuckles = 1 + 0.3 * np.cos(along * 2 * np.pi / (side * random.uniform(0.3, 1)))
        sheet += inside * random.uniform(60, 130) * np.clip((bone * knuckles - np.abs(across)) / (0.4 * bone), 0, 1)
    return _textured(random, Image.fromarray(_bytes(sheet)), side)


def _ultrasound(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Speckle in a fan that opens downwards, on black."""
    side = len(image)
    down, across = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    distance, angle = np.hypot(across, down + 1.1), np.abs(np.arctan2(across, down + 1.1))
    fan = (angle < random.uniform(0.4, 0.8)) & (distance < random.uniform(1.7, 2.1))
    fan &= distance > random.uniform(0.05, 0.4)
    tissue = _resized(Image.fromarray(_bytes(random.uniform(0, 255, (24, 24)))), side)
    speckle = random.rayleigh(0.6, (side, side))
    return _bytes(tissue * speckle * np.exp(-distance * random.uniform(0, 0.6)) * fan)


def _screen(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A radiograph below half of the side among the bars, panels and letters of a window or a page."""
    side = 3 * len(image)
    dark = random.random() < 0.5
    page = Image.new("L", (side, side), int(random.uniform(0, 60) if dark else random.uniform(170, 255)))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(int(random.uniform(9, 22)))
    for _ in range(random.integers(2, 7)):
        left, top = random.uniform(0, side, 2)
        box = (left, top, left + random.uniform(20, 150), top + random.uniform(6, 80))
        pen.rectangle(box, fill=int(random.uniform(0, 255)))
    for _ in range(random.integers(5, 30)):
        place = (random.uniform(0, 0.9 * side), random.uniform(0, 0.9 * side))
        word = "".join(random.choice(list("abcdefghij klmnop ABC 0123456789:./"), int(random.uniform(4, 25))))
        pen.text(place, word, fill=int(random.uniform(0, 255)), font=font)
    tall = int(side * random.uniform(0.25, 0.5))
    wide = int(tall * random.uniform(0.8, 1))
    sheet = Image.fromarray(image).resize((wide, tall), Image.Resampling.BILINEAR)
    page.paste(sheet, (int(random.uniform(0, side - wide)), int(random.uniform(0, side - tall))))
    return _resized(page, len(image))


def _textured(random: np.random.Generator, sheet: Image.Image, side: int) -> np.ndarray:
    return _bytes(_resized(sheet, side) + random.normal(0, random.uniform(0, 8), (side, side)))


def _resized(sheet: Image.Image, side: int) -> np.ndarray:
    return np.asarray(sheet.resize((side, side), Image.Resampling.BILINEAR))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values.clip(0, 255)).astype(np.uint8)


KINDS: dict[str, Maker] = {
    "abdomen": drawn_bodies.abdomen,
    "blank": _blank,
    "cropped": _cropped,
    "hemithorax": drawn_bodies.hemithorax,
    "lateral": drawn_bodies.lateral,
    "limbs": _limbs,
    "negative": _negative,
    "noise": _noise,
    "screen": _screen,
    "shapes": _shapes,
    "skull": drawn_bodies.skull,
    "slices": _slices,
    "text": _text,
    "turned": _turned,
    "ultrasound": _ultrasound,
}
