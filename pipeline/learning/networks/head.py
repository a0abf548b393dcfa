"""What every network shares: uint8 pixels in, scaling inside, its trunk, one hidden layer, one probability out."""

from typing import Any

import keras
from keras import layers

from pipeline.errors import ProjectError
from pipeline.files import sha256_of
from pipeline.learning import networks
from pipeline.learning.networks import Network

# ~/.keras/keras.json could say otherwise, and channels_first or another float would be another network.
keras.config.set_image_data_format("channels_last")
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)


def build(name: str, image_size: int, scaling: str = "unit", weights: str = "random") -> keras.Model:
    """Build a network of the study.

    Args:
        name: one of `networks.names()`.
        image_size: side of the input, in pixels.
        scaling: `unit` (x/255, as in the study) or `own` (what its ImageNet weights were trained with).
        weights: `random` or `imagenet`.

    Returns:
        A model from `pixels`, uint8 [n, side, side, 1], to the output of the layer `probability`, float32 [n, 1]; the
        layer before it is named `logit`.

    Raises:
        ProjectError: unknown name, a side the network cannot take, or weights that cannot be had.
    """
    network = networks.get(name)
    if weights == "imagenet" and network.application is None:
        raise ProjectError(f"{name} has no ImageNet weights; set weights: random")
    own = scaling == "own" and network.preprocess is not None
    pixels = keras.Input((image_size, image_size, 1), dtype="uint8", name="pixels")
    grey = layers.Rescaling(1.0 if own else 1 / 255, name="scaling")(pixels)
    images = layers.Concatenate(name="three_channels")([grey, grey, grey])
    try:
        features = _features(name, network, network.preprocess(images) if own else images, weights)
    except ValueError as error:
        raise ProjectError(f"{name} at {image_size} pixels: {str(error).splitlines()[0]}") from None
    hidden = layers.Dense(128, activation="relu", name="hidden")(features)
    if network.dropout:
        hidden = layers.Dropout(network.dropout)(hidden)
    logit = layers.Dense(1, dtype="float32", name="logit")(hidden)
    return keras.Model(pixels, layers.Activation("sigmoid", dtype="float32", name="probability")(logit), name=name)


def starting_weights_digest(name: str, weights: str) -> str:
    """SHA-256 of the weight file a run starts from; `random` and `keras-download` where there is none to hash."""
    if weights == "random":
        return "random"
    path = networks.weight_file(name)
    return sha256_of(path) if path else "keras-download"


def _features(name: str, network: Network, images: Any, weights: str) -> Any:
    """Features of a trunk; an application ends in global max pooling, and every layer of it can learn."""
    if network.application is None:
        return network.trunk(images)
    trunk = network.application(include_top=False, weights=None, input_tensor=images, pooling="max")
    if weights == "imagenet":
        trunk.set_weights(_imagenet_weights(name, network, images.shape[1]))
    return trunk.output


def _imagenet_weights(name: str, network: Network, image_size: int) -> list[Any]:
    """From the folder that CXR_WEIGHTS names, else Keras' own download. Never a silent random start."""
    source = networks.weight_file(name) or "imagenet"
    try:
        donor = network.application(
            include_top=False, weights=str(source), input_shape=(image_size, image_size, 3), pooling="max"
        )
    except Exception as error:  # noqa: BLE001 - h5py, urllib and Keras each raise their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ProjectError(
            f"ImageNet weights of {name} cannot be had from {source}: {reason}; "
            "set CXR_WEIGHTS to a folder of weight files, or ask for a random start by weights: random"
        ) from None
    return donor.get_weights()
