"""Headless Chromium, driven by Playwright, and images that the tiny champion answers in a known way."""

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from pipeline.data import phantom
from tests.champion_fixture import plain_guard, write_champion
from tests.image_fixture import chest_dicom, encoded

CHROMIUM = next(filter(None, map(shutil.which, ("google-chrome", "chromium", "chromium-browser"))), None)
NONE, INDETERMINATE, SIGNS = (
    "no pneumonia detected",
    "indeterminate: the network does not decide",
    "signs of pneumonia",
)
# Mean brightness, of 0 to 1, by which the tiny champion (thresholds .4 and .6, slope 8) gives each outcome.
BRIGHTNESS = {"none.png": 0.30, "between.png": 0.50, "signs.png": 0.70}
OUTCOMES = {"none.png": NONE, "between.png": INDETERMINATE, "signs.png": SIGNS}
LIMIT = 1.5  # of the tiny champion's input check: the logarithm of an image's contrast, less 3


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A fresh Chromium."""
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu", "--disable-dev-shm-usage"])
        try:
            yield chromium
        finally:
            chromium.close()


def champion(root: Path) -> None:
    """The tiny champion, with an input check that takes radiographs and rejects `scene.png`."""
    write_champion(root, guard=plain_guard(LIMIT))


def write_files(folder: Path) -> Path:
    """One generated radiograph for each outcome, a DICOM file, an image of no chest, a text named .jpeg."""
    for name, brightness in BRIGHTNESS.items():
        (folder / name).write_bytes(encoded(radiograph(brightness), "PNG"))
    (folder / "radiograph.dcm").write_bytes(chest_dicom(np.asarray(radiograph(0.72, patient=13)), PatientAge="060Y"))
    scene = np.zeros((300, 400), np.uint8)
    scene[:, 200:] = 255
    (folder / "scene.png").write_bytes(encoded(scene, "PNG"))
    (folder / "text.jpeg").write_text("This is no image.")
    return folder


def radiograph(brightness: float, patient: int = 10) -> Image.Image:
    """A generated radiograph of this mean brightness."""
    name = f"train/PNEUMONIA/person{patient}_bacteria_{patient}.jpeg"
    grey = np.asarray(phantom.radiograph(1, name).convert("L").resize((600, 480)), np.float64) / 255
    low, high = 0.05, 20.0
    for _ in range(50):  # the gamma, by halving
        gamma = (low * high) ** 0.5
        low, high = (gamma, high) if np.mean(grey**gamma) > brightness else (low, gamma)
    return Image.fromarray(np.rint(255 * grey**gamma).astype(np.uint8))


def tab(chromium: Browser, **options: Any) -> Page:
    """An empty tab. `page.asked` are the addresses that it asks for, `page.complaints` what its console complains of."""
    page = chromium.new_context(**options).new_page()
    page.asked, page.complaints = [], []  # type: ignore[attr-defined]
    page.on("request", lambda request: page.asked.append(request.url))  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.complaints.append(str(error)))  # type: ignore[attr-defined]
    page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)  # type: ignore[attr-defined]
    return page


def open_page(chromium: Browser, address: str, **options: Any) -> Page:
    """A tab with the service's page, ready for a file."""
    page = tab(chromium, **options)
    page.goto(address + "/")
    wait(page, "document.querySelector('#facts').children.length > 0")
    return page


def choose(page: Page, *paths: Path) -> None:
    """Choose files by the picker, and wait until the first is settled."""
    page.set_input_files("#file", list(paths))
    settled(page, paths[0].name)


def drop(page: Page, *paths: Path) -> None:
    """Drop files anywhere on the page, as from a file manager."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})


def settled(page: Page, name: str) -> None:
    """Wait until the page shows this file with an outcome or with the reason that there is none."""
    wait(
        page,
        "name => document.querySelector('#name').textContent === name"
        " && (!document.querySelector('#answer').hidden || !document.querySelector('#problem').hidden)",
        name,
    )


def wait(page: Page, expression: str, value: Any = None, seconds: float = 60) -> None:
    """Wait until an expression is true. Playwright's own wait needs `eval`, which the page's policy forbids."""
    for _ in range(int(seconds / 0.02)):
        if page.evaluate(expression, value):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never true: {expression}; the page says {page.inner_text('body')}")


def shoot(page: Page, name: str) -> None:
    """Keep an image of the whole page where PAGE_SCREENSHOTS names a folder."""
    if folder := os.environ.get("PAGE_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def pixels(png: bytes) -> np.ndarray:
    """A screenshot as numbers, uint8 [height, width, 3]."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
