"""What a network says of images: logits, compiled once."""

from collections.abc import Callable

import keras
import numpy as np

from pipeline.learning.engine import choose_engine


def logit_predictor(network: keras.Model, batch_size: int = 64) -> Callable[[np.ndarray], np.ndarray]:
    """A function from images, uint8 [n, side, side], to the network's logits, float32 [n]; compiled once."""
    logits = keras.Model(network.input, network.get_layer("logit").output)
    logits.compile(jit_compile=choose_engine().jit_compile)
    return lambda pixels: logits.predict(pixels[..., None], batch_size=batch_size, verbose=0)[:, 0]
