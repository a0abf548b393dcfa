"""Training, images a second: each network, and custom_cnn on the augmented group beside the notebook way.

    python -m benchmarks.training [NETWORK ...]

The notebook way is `ImageDataGenerator` feeding `fit` from one float array, filled image by image, compiled as Keras
compiles it by itself (on a CPU without XLA). Each way runs in a process of its own, so that its peak memory is its own.
Writes the rates to benchmarks/training.json, from which `make repro` says how long it will take.
Exit status 1 past a limit; what was measured is kept either way.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.support import record
from pipeline import paths, settings
from pipeline.files import write_json

SIDE = 128
BATCH = 32
STEPS = {"custom_cnn": 147}  # as many images as the real group has; the others are ten times slower
FEW_STEPS = 8
FASTER = 1.5  # times the notebook way's rate, at least
MEMORY = 0.5  # of the notebook way's memory, less what the imports take, at most


def images(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise: what is on the images does not matter for speed. Uint8 [n, side, side], labels [n]."""
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (steps * BATCH, SIDE, SIDE), dtype=np.uint8), np.arange(steps * BATCH) % 2


def ours(network: str, steps: int) -> float:
    """Images a second in the second epoch: the first one compiles."""
    from pipeline.learning.training import Images, train

    pixels, labels = images(steps)
    rows = np.arange(len(pixels))
    run = next(run for run in settings.load().table.values() if run.network == network)
    training = run.training.model_copy(update={"epochs": 2, "batch_size": BATCH})
    run = run.model_copy(update={"augmentation": "geometric", "weights": "random", "training": training})
    marks: list[float] = []

    def note(epoch: int, epochs: int) -> list:
        marks.append(time.perf_counter())
        return []

    with tempfile.TemporaryDirectory() as scratch:
        train(run, Images(pixels, labels, rows, rows[:BATCH]), Path(scratch) / "state.npz", note)
        return len(pixels) / (time.perf_counter() - marks[1])


def notebook(network: str, steps: int) -> float:
    """The same network as the study trained it: one float array of three channels, augmented in Python, image by image."""
    import keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    from pipeline.learning.networks.head import build

    pixels, labels = images(steps)
    floats = np.empty((len(pixels), SIDE, SIDE, 3), "float32")
    for place in range(len(pixels)):
        floats[place] = pixels[place, ..., None] / np.float32(255)
    del pixels  # a notebook has its images from files, one at a time
    trunk = build(network, SIDE)
    first = trunk.get_layer("three_channels")
    model = keras.Model(first.output, trunk.output)
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    flow = ImageDataGenerator(rotation_range=10, zoom_range=0.1, width_shift_range=0.1, height_shift_range=0.1).flow(
        floats, labels.astype("float32"), batch_size=BATCH
    )
    model.fit(flow, epochs=1, verbose=0)
    started = time.perf_counter()
    model.fit(flow, epochs=1, verbose=0)
    return len(labels) / (time.perf_counter() - started)


WAYS = {"ours": ours, "notebook": notebook}


def measure(way: str, network: str) -> dict[str, float]:
    """Run one way in a process of its own."""
    # `pipeline.learning` sets one thread between operations unless told otherwise; the notebook had TensorFlow's default, 0.
    environ = os.environ if way == "ours" else os.environ | {"TF_NUM_INTEROP_THREADS": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training", "--one", way, network],
        cwd=paths.ROOT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{way} {network}: {done.stderr[-1500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Print one table, and keep the rates."""
    if sys.argv[1:2] == ["--one"]:
        way, network = sys.argv[2:]
        import pipeline.learning.training  # noqa: F401

        imports = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        rate = WAYS[way](network, STEPS.get(network, FEW_STEPS))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(json.dumps({"rate": rate, "megabytes": round(peak), "imports": round(imports)}))
        return
    networks = sys.argv[1:] or settings.load().networks
    print(f"{SIDE} pixels, batch {BATCH}, {os.cpu_count()} cores, group augmented")
    print(f"{'way':13} {'network':14} {'images/s':>10} {'peak MiB':>9}")
    rates, rows, criteria = {}, [], {}
    for network in networks:
        result = measure("ours", network)
        rates[network] = round(result["rate"], 1)
        train = f"train {network}, augmented"
        print(f"{'ours':13} {network:14} {result['rate']:10.1f} {result['megabytes']:9.0f}")
        if network == "custom_cnn":
            peer = measure("notebook", network)
            print(f"{'notebook':13} {network:14} {peer['rate']:10.1f} {peer['megabytes']:9.0f}")
            print(
                f"{'':13} {'ratio':14} {result['rate'] / peer['rate']:10.2f} {result['megabytes'] / peer['megabytes']:9.2f}"
            )
            beside = "ImageDataGenerator and a float array"
            rows.append(record.row(train, "images/s", rates[network], round(peer["rate"], 1), beside))
            rows.append(record.row(f"{train}: peak memory", "MiB", result["megabytes"], peer["megabytes"], beside))
            here, beside_it = (measured["megabytes"] - measured["imports"] for measured in (result, peer))
            rows.append(record.row(f"{train}: the same, less what the imports take", "MiB", here, beside_it, beside))
            criteria = {
                f"{FASTER} times as fast as the notebook way": result["rate"] >= FASTER * peer["rate"],
                f"{MEMORY} of its memory, less what the imports take": here <= MEMORY * beside_it,
            }
    kept = paths.ROOT / "benchmarks" / "training.json"
    known = json.loads(kept.read_text(encoding="utf-8"))["pictures_per_second"] if kept.exists() else {}
    write_json(kept, {"cores": os.cpu_count(), "pictures_per_second": known | rates})
    if "custom_cnn" in rates:
        kept_rates = known | rates
        further = [name for name in settings.load().networks if name in kept_rates and name != "custom_cnn"]
        rows += [record.row(f"train {name}, augmented", "images/s", kept_rates[name]) for name in further]
        record.keep("training", rows)
    record.hold(criteria)


if __name__ == "__main__":
    main()
