"""What class activation maps cost: all 624 test pictures of a network, beside plain prediction and a gradient tape.

    python -m benchmarks.saliency [NETWORK ...]

Weights are random: the time does not depend on them. Each way is warmed up, then the best of three turns counts.
"""

import sys
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from benchmarks import record
from pipeline import settings
from pipeline.learning import networks, saliency

PICTURES = 624
BATCH = 32
ROUNDS = 3


def main() -> None:
    """Print one table."""
    side = settings.load().preprocess.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (PICTURES, side, side, 1)).astype(np.uint8)
    lines = [f"{PICTURES} pictures of {side} x {side}, batch {BATCH}, TensorFlow on the CPU; seconds"]
    lines.append(
        f"{'network':<14}{'plain':>9}{'with maps':>11}{'ratio':>8}{'tape':>9}{'ratio':>8}   (limit 2.0 with maps)"
    )
    rows = []
    for name in sys.argv[1:] or networks.NETWORKS:
        network = networks.build(name, side)
        explainer = saliency.explainer(network)
        tape = _tape(network)
        plain, mapped, usual = _seconds(
            [
                lambda model=network: model.predict(pictures, batch_size=BATCH, verbose=0),
                lambda model=explainer: model.predict(pictures, batch_size=BATCH, verbose=0),
                lambda way=tape: [way(pictures[at : at + BATCH]) for at in range(0, PICTURES, BATCH)],
            ]
        )
        lines.append(f"{name:<14}{plain:9.2f}{mapped:11.2f}{mapped / plain:8.2f}{usual:9.2f}{usual / plain:8.2f}")
        title = f"maps of {PICTURES} pictures, {name}"
        rows.append(record.row(title, "s", round(mapped, 2), round(plain, 2), "plain prediction"))
    record.keep("saliency", rows)
    sys.stdout.write("\n".join(lines) + "\n")


def _tape(network: keras.Model) -> Callable[[np.ndarray], tf.Tensor]:
    """Grad-CAM as it is usually written, compiled: a second pass backwards for the gradient at the head's input."""
    features, _ = saliency.head(network)
    model = keras.Model(network.input, [features, network.get_layer("logit").output])

    @tf.function(reduce_retracing=True)
    def maps(pictures: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            activations, logits = model(pictures, training=False)
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
