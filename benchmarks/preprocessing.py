"""Preprocessing originals, images a second: `preprocess` beside the notebook way (OpenCV, one by one, divided by 255).

    CXR_ORIGINALS=<folder of images> python -m benchmarks.preprocessing

Takes any folder of JPEG files; images at their original size are what counts. Without CXR_ORIGINALS it takes those of
CXR_DATA, and without both it generates phantoms of 1,400 x 1,100 pixels and says so.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.support import record
from pipeline.data.arrays import write_array
from pipeline.data.phantom import generate
from pipeline.settings import Phantom

SIDE = 128
REPEATS = 5
WANTED = 240


def notebook(images: list[Path]) -> np.ndarray:
    """As the study's notebook read its images."""
    return np.array([cv2.resize(cv2.imread(str(path)), (SIDE, SIDE)) / 255 for path in images])


def phantoms(folder: Path) -> list[Path]:
    """Generated radiographs, enlarged to the usual size of an original."""
    generate(Phantom(seed=0, train=40, val=2, test=2), folder)
    files = sorted(folder.rglob("*.jpeg"))
    for path in files:
        with Image.open(path) as image:
            image.resize((1400, 1100), Image.Resampling.BICUBIC).save(path, "JPEG", quality=92)
    return files


def best(action: Callable[[], object]) -> float:
    """Seconds of the fastest of some repeats: the least disturbed one."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def main() -> None:
    """Measure both on the same images, in turn."""
    source = os.environ.get("CXR_ORIGINALS") or os.environ.get("CXR_DATA")
    with tempfile.TemporaryDirectory() as scratch:
        files = sorted(Path(source).rglob("*.jpeg")) if source else phantoms(Path(scratch) / "raw")
        images = (files * (WANTED // len(files) + 1))[:WANTED]
        sizes = np.array([Image.open(path).size for path in files])
        kind = "images" if source else "phantoms"
        print(f"{len(files)} {kind}, median {np.median(sizes, axis=0)} pixels, {os.cpu_count()} cores")
        ours = best(lambda: write_array(images, SIDE, Path(scratch) / "array.npy"))
        peer = best(lambda: notebook(images))
    print(f"{'way':12} {'images a second':>18}")
    print(f"{'preprocess':12} {len(images) / ours:18.0f}")
    print(f"{'notebook':12} {len(images) / peer:18.0f}")
    print(f"ratio {peer / ours:.2f}")
    size = " x ".join(f"{side:.0f}" for side in np.median(sizes, axis=0))
    title = f"decode and resize {kind} of {size} pixels (median) to {SIDE}"
    rate = [round(len(images) / seconds, 1) for seconds in (ours, peer)]
    record.keep("preprocessing", [record.row(title, "images/s", *rate, "cv2, one by one, / 255")])


if __name__ == "__main__":
    main()
