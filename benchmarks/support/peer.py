"""The plain way to serve the same network: BentoML, a PIL parameter, Keras `predict`. Started by benchmarks/serving.py."""

import os

import bentoml
import numpy as np
from PIL.Image import Image


@bentoml.service(name="peer", workers=int(os.environ.get("PEER_WORKERS", "1")), http={"host": "127.0.0.1"})
class Peer:
    """As tutorials have it: load in the constructor, predict in the method."""

    def __init__(self) -> None:
        import keras

        self.model = keras.models.load_model(os.environ["PEER_NETWORK"])
        self.side = self.model.input_shape[1]

    @bentoml.api
    def predict(self, image: Image) -> dict:
        """The probability of one image."""
        pixels = np.asarray(image.convert("L").resize((self.side, self.side)))
        return {"probability": float(self.model.predict(pixels[None, :, :, None], verbose=0)[0, 0])}
