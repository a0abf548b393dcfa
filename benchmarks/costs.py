"""What an image, an epoch and a request cost, in seconds of one core: the numbers behind docs/scaling.md.

Processor time, of all threads together, says the same on a busy machine as on an idle one.
`python -m benchmarks.costs [FOLDER]`: FOLDER holds model.onnx (default: the champion). Images: CXR_DATA, else phantoms.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.support.record import keep, row
from pipeline import paths, settings
from pipeline.data import layouts, manifest, phantom
from pipeline.data.imaging import read_pixels

IMAGES = 120
SIDE = 128
STEPS = 12


def main() -> None:
    """Print one table."""
    with tempfile.TemporaryDirectory() as folder:
        files, kind = images(Path(folder))
        size = np.mean([file.stat().st_size for file in files])
        print(f"{len(files)} images ({kind}), {size / 1e3:.0f} kB each on disk, {SIDE * SIDE / 1e3:.0f} kB as pixels")
        rows = {
            "validate: manifest row": cost(manifest_row, files),
            "preprocess: decode, resize": cost(lambda file: read_pixels(file, SIDE), files),
        }
        champion = Path(sys.argv[1]) if len(sys.argv) > 1 else paths.CHAMPIONS / paths.CHAMPION.read_text().strip()
        rows["answer of the champion"] = answering(champion, files)
    for network in ("custom_cnn", "xception"):
        rows[f"train: {network}, an image an epoch"] = training(network)
    for name, seconds in rows.items():
        print(f"{name:44} {1000 * seconds:9.2f} ms of one core an image")
    unit = f"ms of one core an image ({kind})"
    keep("costs", [row(name, unit, round(1000 * seconds, 3)) for name, seconds in rows.items()])


def images(folder: Path) -> tuple[list[Path], str]:
    """Some images of the real set, or generated ones."""
    if copy := os.environ.get("CXR_DATA"):
        files = list(layouts.find(Path(copy)).images.values())
        return files[:: max(1, len(files) // IMAGES)][:IMAGES], "the real set"
    phantom.generate(settings.Phantom(seed=1, train=IMAGES - 16, val=8, test=8), folder)
    return sorted(folder.rglob("*.jpeg")), "generated"


def manifest_row(file: Path) -> object:
    """The row of <split>/<label>/<name>."""
    return manifest.inspect(file.parents[2], "/".join(file.parts[-3:]), 64, 10**8)


def cost(work: Callable[[Path], object], files: list[Path]) -> float:
    """Core-seconds of `work` on one file."""
    started = time.process_time()
    for file in files:
        work(file)
    return (time.process_time() - started) / len(files)


def answering(champion: Path, files: list[Path]) -> float:
    """Core-seconds from a file's bytes to probability and map, one image at a time, as the service does it."""
    from pipeline.inference import Graph
    from pipeline.registry import contract

    side = contract.read(champion)["input"]["shape"][1]
    graph = Graph(champion / "model.onnx")
    graph.answer(read_pixels(files[0], side)[None])  # warm
    return cost(lambda file: graph.answer(read_pixels(file.read_bytes(), side)[None]), files)


def training(network: str) -> float:
    """Core-seconds of a training step for one image, validation left out: the second epoch, when all is compiled."""
    import keras

    from pipeline.learning.training import Images, train

    class Clock(keras.callbacks.Callback):
        """Counts the processor time of the training batches of the last epoch."""

        spent = 0.0

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self.spent = 0.0

        def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
            self.began = time.process_time()

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.spent += time.process_time() - self.began

    run = next(iter(settings.load().runs.values()))
    batch = run.training.batch_size
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (STEPS * batch, SIDE, SIDE), dtype=np.uint8)
    rows = np.arange(len(pixels))
    clock = Clock()
    two = {"network": network, "augmentation": "geometric", "weights": "random"}
    short = run.model_copy(update=two | {"training": run.training.model_copy(update={"epochs": 2})})
    with tempfile.TemporaryDirectory() as folder:
        everything = Images(pixels, rows % 2, rows, rows[:4])
        train(short, everything, Path(folder) / "checkpoint.npz", lambda epoch, epochs: [clock])
    return clock.spent / len(rows)


if __name__ == "__main__":
    main()
