"""Generated chest radiographs: good enough that a person sees a chest and a network learns, and about nobody.

Every image follows from the seed and its own name; the images of a patient share one anatomy. What tells the
classes apart is in the lungs (one or two focal opacities: bacterial; a net of fine lines on both sides: viral):
brightness, contrast, size and colour mode are drawn alike for all.
"""

import zlib
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from pipeline.data.manifest import patient_of
from pipeline.data.parallel import in_order
from pipeline.data.sources import PUBLISHED
from pipeline.errors import ProjectError
from pipeline.labels import NORMAL, SPLITS
from pipeline.settings import Phantom

HEIGHT, WIDTH = (176, 208)  # pixels of the drawing, before it takes the size of the image
SIDES = (160, 400)  # pixels, longer side of an image
QUALITY = 90
BACTERIAL = {"train": 2530 / 3875, "val": 1.0, "test": 242 / 390}  # share of the pneumonia images, as in the real set
NUMBERS = {"train": 1, "val": 2, "test": 3}  # patient 3 i + k: no number in two splits

Array = np.ndarray


def counts(phantom: Phantom) -> dict[str, int]:
    """Images of each class, {"train/NORMAL": n, ...}, in the real set's proportions and at least one.

    Raises:
        ProjectError: a split is too small for two classes.
    """
    result: dict[str, int] = {}
    for split in SPLITS:
        total = getattr(phantom, split)
        if total < 2:
            raise ProjectError(
                f"params.yaml: ingest.phantom.{split}: {total} images cannot hold two classes; at least 2"
            )
        normal, ill = PUBLISHED[f"{split}/NORMAL"], PUBLISHED[f"{split}/PNEUMONIA"]
        share = min(max(round(total * normal / (normal + ill)), 1), total - 1)
        result |= {f"{split}/NORMAL": share, f"{split}/PNEUMONIA": total - share}
    return result


def names(phantom: Phantom) -> Iterator[str]:
    """Paths of the images, <split>/<label>/<file name>, named as in the real set."""
    for part, total in counts(phantom).items():
        split, label = part.split("/")
        if label == NORMAL:
            yield from (f"{part}/{name}" for name in islice(_normal_names(split), total))
        else:
            bacterial = round(total * BACTERIAL[split])
            yield from (f"{part}/{name}" for name in islice(_ill_names(split, "bacteria"), bacterial))
            yield from (f"{part}/{name}" for name in islice(_ill_names(split, "virus"), total - bacterial))


def _normal_names(split: str) -> Iterator[str]:
    """Two name series; every tenth patient has a second image."""
    patient = NUMBERS[split]
    while True:
        series = "NORMAL2-IM" if patient % 2 else "IM"
        yield f"{series}-{patient:04d}-0001.jpeg"
        if patient % 10 == 0:
            yield f"{series}-{patient:04d}-0001-0002.jpeg"
        patient += 3


def _ill_names(split: str, cause: str) -> Iterator[str]:
    """One to four images a patient; the image number runs on over all patients of a cause."""
    patient, number = NUMBERS[split], 1
    while True:
        for _ in range(1 + patient % 4):
            yield f"person{patient}_{cause}_{number}.jpeg"
            number += 1
        patient += 3


def generate(phantom: Phantom, raw: Path) -> None:
    """Write every image of the set below `raw`, on all cores."""
    for part in counts(phantom):
        (raw / part).mkdir(parents=True)
    total = phantom.train + phantom.val + phantom.test
    for _ in in_order(partial(_write, phantom.seed, raw), names(phantom), total, "phantoms"):
        pass


def _write(seed: int, raw: Path, path: str) -> None:
    radiograph(seed, path).save(raw / path, format="JPEG", quality=QUALITY)


def radiograph(seed: int, path: str) -> Image.Image:
    """The radiograph at `path` (<split>/<label>/<file name>): mode L or, for one in twenty, RGB; sides from `SIDES`."""
    patient, subtype = patient_of(path.rsplit("/", 1)[-1])
    body = np.random.default_rng([seed, zlib.crc32(patient.encode())])
    exposure = np.random.default_rng([seed, zlib.crc32(path.encode()), 1])
    density, lungs = _chest(body, exposure)
    if subtype == "bacterial":
        density = density + _opacities(exposure, lungs)
    elif subtype == "viral":
        density = density + _interstitium(exposure, lungs)
    return _expose(exposure, density)


def _chest(body: np.random.Generator, exposure: np.random.Generator) -> tuple[Array, Array]:
    """Density and lung fields of a healthy chest, both float32 [HEIGHT, WIDTH]; `body` draws anatomy, `exposure` pose."""
    turn, shift_x, shift_y = (exposure.normal(0, 0.035), exposure.normal(0, 0.04), exposure.normal(0, 0.02))
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    x0 = (columns / WIDTH - 0.5) * 2.3 - shift_x
    y0 = rows / HEIGHT - shift_y
    # x from -1 (the patient's right, left on the radiograph) to 1, y from 0 (neck) to 1 (belly)
    x, y = x0 + turn * (y0 - 0.5), y0 - turn * x0 * 0.5
    side = np.abs(x)
    left = x > 0

    apex, base = body.uniform(0.10, 0.15), body.uniform(0.74, 0.84)
    wide = body.uniform(0.78, 0.88)
    breath = exposure.normal(0, 0.015)

    torso = _below(side, wide + 0.10 + 0.05 * y + 0.33 * np.exp(-(((y - 0.12) / 0.12) ** 2)), 0.03)
    neck = 1 - _below(y, 0.05 + 0.25 * np.clip(side - 0.25, 0, 1), 0.03) * _below(0.28, side, 0.04)
    density = 0.62 * torso * neck

    t = np.clip((y - apex) / (base - apex), 0, 1.4)
    lateral = wide * np.sqrt(np.clip(1 - (1 - np.clip(t, 0, 1)) ** 3, 0, 1)) * (0.82 + 0.18 * t)
    medial = 0.13 + 0.05 * np.clip(t, 0, 1) ** 2
    dome = base + breath + np.where(left, 0.045, 0.0) - 0.12 * np.cos(np.clip((side - 0.40) / 0.45, -1, 1) * 1.5)
    lungs = _below(medial, side, 0.025) * _below(side, lateral, 0.018) * _below(y, dome, 0.010)

    heart = _heart(x, y, body, base)
    aerated = lungs * (1 - 0.9 * heart)
    density = density - body.uniform(0.40, 0.46) * aerated + 0.10 * heart * torso
    belly = _below(dome, y, 0.02) * torso
    density += 0.10 * belly
    if exposure.random() < 0.4:
        gas = _ellipse(x, y, (exposure.uniform(0.3, 0.5), base + 0.12), (0.14, 0.05), 0.02)
        density -= 0.16 * gas * belly

    density += _spine(side, y, body) * torso
    density += _ribs(side, y, lateral, body) * torso * (1 - 0.55 * belly - 0.3 * heart)
    density += _shoulders(side, y, body)
    density += _vessels(exposure, x, y, aerated)
    density -= 0.12 * np.exp(-((x / 0.045) ** 2)) * _below(y, 0.36, 0.03)  # trachea
    return density, aerated


def _below(value: Array | float, limit: Array | float, soft: float) -> Array:
    """1 where `value` is below `limit`, 0 where it is above, a soft edge between."""
    return 0.5 - 0.5 * np.tanh((np.asarray(value) - limit) / (2 * soft), dtype=np.float32)


def _ellipse(x: Array, y: Array, centre: tuple[float, float], radii: tuple[float, float], soft: float) -> Array:
    distance = np.sqrt(((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2)
    return _below(distance, 1.0, soft / min(radii))


def _heart(x: Array, y: Array, body: np.random.Generator, base: float) -> Array:
    """The heart, mostly on the patient's left, with the great vessels above it."""
    size = body.uniform(0.9, 1.12)
    ventricle = _ellipse(x - 0.55 * (y - 0.62), y, (0.22, base - 0.17), (0.31 * size, 0.19 * size), 0.02)
    atrium = _ellipse(x, y, (-0.09, base - 0.18), (0.19 * size, 0.15 * size), 0.02)
    vessels = _ellipse(x, y, (0.03, 0.38), (0.19, 0.19), 0.025)
    return np.maximum(np.maximum(ventricle, atrium), vessels)


def _spine(side: Array, y: Array, body: np.random.Generator) -> Array:
    """A column of vertebrae with brighter end plates."""
    step = body.uniform(0.062, 0.07)
    column = _below(side, 0.085, 0.012)
    discs = np.cos(2 * np.pi * y / step, dtype=np.float32)
    pedicles = np.exp(-(((side - 0.06) / 0.02) ** 2)) * np.clip(discs, 0, 1)
    return column * (0.11 + 0.03 * discs) + 0.05 * pedicles


def _ribs(side: Array, y: Array, lateral: Array, body: np.random.Generator) -> Array:
    """Posterior ribs, arching out and down from the spine; anterior ribs, running down to the middle; the wall."""
    step, phase = body.uniform(0.078, 0.09), body.uniform(0, 1)
    strength = body.uniform(0.10, 0.14)
    inside = _below(side, lateral + 0.02, 0.01) * _below(0.06, side, 0.01)
    back = (y + 0.10 * np.sin(2.4 * side, dtype=np.float32) - 0.36 * side**2) / step + phase
    front = (y - 0.34 * (side - 0.9) ** 2 + 0.32 * side) / (1.25 * step) + phase
    fade = _below(0.25, side, 0.06) * _below(y, 0.8, 0.05)
    wall = np.exp(-(((side - lateral - 0.005) / 0.016) ** 2)) * _below(0.12, y, 0.02)
    return inside * (strength * _band(back, 0.25) + 0.5 * strength * fade * _band(front, 0.35)) + 0.12 * wall


def _band(phase: Array, threshold: float) -> Array:
    """One band a period, brighter at its two edges, as the cortex of a rib is."""
    wave = np.cos(2 * np.pi * phase, dtype=np.float32)
    return _below(threshold, wave, 0.08) * (0.75 + 0.5 * np.exp(-(((wave - threshold - 0.15) / 0.2) ** 2)))


def _shoulders(side: Array, y: Array, body: np.random.Generator) -> Array:
    """Clavicles and the heads of the arm bones."""
    slope = body.uniform(0.05, 0.14)
    clavicle = np.exp(-(((y - 0.15 + slope * side) / 0.014) ** 2)) * _below(0.12, side, 0.02) * _below(side, 0.85, 0.02)
    arm = _ellipse(side, y, (1.02, body.uniform(0.08, 0.14)), (0.12, 0.09), 0.015)
    return 0.13 * clavicle + 0.16 * arm


def _vessels(exposure: np.random.Generator, x: Array, y: Array, lungs: Array) -> Array:
    """Branching markings, dense at the hila and thin towards the wall."""
    reach = np.exp(-(((np.abs(x) - 0.2) / 0.28) ** 2) - ((y - 0.47) / 0.22) ** 2)
    return lungs * reach * (0.05 + 0.11 * np.clip(_noise(exposure, 2.2), -0.6, 2))


def _noise(exposure: np.random.Generator, scale: float) -> Array:
    """Smooth noise of unit variance, float32 [HEIGHT, WIDTH]; `scale` in pixels."""
    factor = int(scale)
    shape = (HEIGHT // factor, WIDTH // factor)
    coarse = gaussian_filter(exposure.standard_normal(shape, dtype=np.float32), scale / factor)
    field = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
    return field / field.std()


def _opacities(exposure: np.random.Generator, lungs: Array) -> Array:
    """One or two focal opacities with ragged edges somewhere in the lungs."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    places = np.flatnonzero(lungs > 0.6)
    ragged = _noise(exposure, 7)
    total = np.zeros_like(lungs)
    for _ in range(1 if exposure.random() < 0.7 else 2):
        row, column = divmod(int(exposure.choice(places)), WIDTH)
        radius = exposure.uniform(24, 42)
        distance = np.hypot((rows - row) / exposure.uniform(0.8, 1.1), columns - column) / radius
        total = np.maximum(total, exposure.uniform(0.30, 0.44) * _below(distance + 0.22 * ragged, 0.8, 0.09))
    return total * lungs


def _interstitium(exposure: np.random.Generator, lungs: Array) -> Array:
    """A net of fine lines in both lungs with a light haze: the zero crossings of band-passed noise."""
    net = np.exp(-((_noise(exposure, 2.2) / 0.38) ** 2))
    patches = np.clip(0.8 + 0.3 * _noise(exposure, 16), 0.3, 1.4)
    return lungs * patches * (exposure.uniform(0.14, 0.22) * net + exposure.uniform(0.08, 0.16))


def _expose(exposure: np.random.Generator, density: Array) -> Image.Image:
    """Density to an image: mean, contrast, grain, size, marker and mode, all drawn alike for every class."""
    grain = exposure.standard_normal(density.shape, dtype=np.float32)
    levels = gaussian_filter(density, exposure.uniform(0.3, 0.8)) + exposure.uniform(0.006, 0.016) * grain
    levels = (levels - levels.mean()) / levels.std()
    levels = exposure.normal(122, 12) + exposure.normal(58, 5) * levels
    image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    longer = int(exposure.integers(*SIDES, endpoint=True))
    image = image.resize((longer, int(longer / exposure.uniform(1.0, 1.45))), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    corner = (exposure.uniform(0.02, 0.10) * image.width, exposure.uniform(0.04, 0.25) * image.height)
    draw.text(corner, "R", fill=235, font_size=max(8, image.height // 16))
    return image.convert("RGB") if exposure.random() < 0.05 else image
