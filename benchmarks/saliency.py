"""What class activation maps cost: all 624 test images of a network, beside plain prediction and a gradient tape.

    python -m benchmarks.saliency [NETWORK ...] [stage]

Weights are random: the time does not depend on them. Each way is warmed up, then the best of three turns counts.
`stage` is the whole stage `explain` on the data and the candidate that are here, written elsewhere. Without a name,
everything; the stage only where the data are. Exit status 1 past a limit; what was measured is kept either way.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.support import record
from pipeline import paths, settings
from pipeline.learning import networks, saliency
from pipeline.learning.networks import head

IMAGES = 624
BATCH = 32
ROUNDS = 3
LIMIT = 2.0  # times plain prediction
STAGE = "stage"
STAGE_MINUTES = 10
READ = ("params.yaml", "data", "models", "predictions", "metrics/candidate.json")  # what `explain` reads


def main() -> None:
    """Print one table, keep its numbers, and fail past a limit."""
    here = paths.array("test").is_file()
    chosen = sys.argv[1:] or [*networks.names(), *([STAGE] if here else [])]
    lines, slow = [], []
    for name in chosen:
        row = _stage() if name == STAGE else _maps(name)
        record.keep("saliency", [row], others_stay=True)  # at once: the whole takes minutes
        lines.append(f"{row['what']:<44}{row['here']:9.2f} {row['unit']}")
        if name == STAGE:
            slow += [name] if row["here"] >= STAGE_MINUTES else []
            continue
        ratio = row["here"] / row["peer"]
        lines[-1] += f"{row['peer']:9.2f} s of plain prediction, ratio {ratio:.2f}"
        slow += [name] if ratio >= LIMIT else []
    print("\n".join([*lines, f"limits: ratio {LIMIT}, stage {STAGE_MINUTES} min"]))
    if slow:
        sys.exit(f"past the limit: {', '.join(slow)}")


def _maps(name: str) -> dict[str, Any]:
    """The maps of one network; what a tape takes is printed."""
    side = settings.load().preprocess.image_size
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, side, side, 1)).astype(np.uint8)
    network = head.build(name, side)
    explainer, tape = saliency.explainer(network), _tape(network)
    plain, mapped, usual = _seconds(
        [
            lambda: network.predict(images, batch_size=BATCH, verbose=0),
            lambda: explainer.predict(images, batch_size=BATCH, verbose=0),
            lambda: [tape(images[at : at + BATCH]) for at in range(0, IMAGES, BATCH)],
        ]
    )
    print(
        f"{name}: plain {plain:.2f} s, with maps {mapped:.2f} s, with a gradient tape {usual:.2f} s ({usual / plain:.2f})"
    )
    title = f"maps of {IMAGES} images, {name}"
    return record.row(title, "s", round(mapped, 2), round(plain, 2), "plain prediction")


def _stage() -> dict[str, Any]:
    """The stage `explain` of this checkout's candidate, run in a folder that only links to what it reads."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in READ:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).symlink_to(paths.ROOT / name)
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "pipeline.stages.explain"],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PIPELINE_ROOT": folder},
            check=True,
        )
        minutes = (time.perf_counter() - started) / 60
    return record.row("explain, the whole stage, candidate", "min", round(minutes, 2))


def _tape(network: keras.Model) -> Callable[[np.ndarray], tf.Tensor]:
    """Grad-CAM as it is usually written, compiled: a second pass backwards for the gradient at the head's input."""
    features, _ = saliency.head(network)
    model = keras.Model(network.input, [features, network.get_layer("logit").output])

    @tf.function(reduce_retracing=True)
    def maps(images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            activations, logits = model(images, training=False)
        weights = tf.reduce_mean(tape.gradient(logits, activations), axis=(1, 2))
        return tf.nn.relu(tf.einsum("nhwc,nc->nhw", activations, weights))

    return maps


def _seconds(ways: Sequence[Callable[[], object]]) -> list[float]:
    """The best time of each way; they take turns, so that a busy machine slows all of them."""
    for way in ways:
        way()
    times = []
    for _ in range(ROUNDS):
        for way in ways:
            start = time.perf_counter()
            way()
            times.append(time.perf_counter() - start)
    return [min(times[place :: len(ways)]) for place in range(len(ways))]


if __name__ == "__main__":
    main()
