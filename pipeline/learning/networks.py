"""The six networks of the study: uint8 pixels in, one probability out, scaling inside."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from pipeline.errors import ProjectError
from pipeline.files import sha256_of


@dataclass(frozen=True)
class Backbone:
    """A network of Keras Applications: its builder, its own input scaling, and its name in a folder of weight files."""

    build: Callable[..., keras.Model]
    preprocess: Callable[[Any], Any]
    file: str


BACKBONES = {
    "resnet50": Backbone(
        keras.applications.ResNet50, keras.applications.resnet50.preprocess_input, "resnet50_notop.weights.h5"
    ),
    "densenet121": Backbone(
        keras.applications.DenseNet121, keras.applications.densenet.preprocess_input, "densenet121_notop.weights.h5"
    ),
    "vgg16": Backbone(keras.applications.VGG16, keras.applications.vgg16.preprocess_input, "vgg16_notop.weights.h5"),
    "inception_v3": Backbone(
        keras.applications.InceptionV3,
        keras.applications.inception_v3.preprocess_input,
        "inceptionv3_notop.weights.h5",
    ),
    "xception": Backbone(
        keras.applications.Xception, keras.applications.xception.preprocess_input, "xception_notop.weights.h5"
    ),
}
NETWORKS = ("custom_cnn", *BACKBONES)

CUSTOM_BLOCKS = ((32, 0.0), (64, 0.1), (64, 0.0), (128, 0.2), (256, 0.2))  # filters, dropout


def build(name: str, image_size: int, scaling: str = "unit", weights: str = "random") -> keras.Model:
    """Build a network of the study.

    Args:
        name: one of `NETWORKS`.
        image_size: side of the input, in pixels.
        scaling: `unit` (x/255, as in the study) or `own` (what the backbone was trained with).
        weights: `random` or `imagenet`.

    Returns:
        A model from `pixels`, uint8 [n, side, side, 1], to the output of the layer `probability`, float32 [n, 1]; the
        layer before it is named `logit`.

    Raises:
        ProjectError: unknown name, a side the network cannot take, or weights that cannot be had.
    """
    if name not in NETWORKS:
        raise ProjectError(f"unknown network {name!r}; known: {', '.join(NETWORKS)}")
    if name == "custom_cnn" and weights != "random":
        raise ProjectError("custom_cnn has no ImageNet weights; set weights: random")
    pixels = keras.Input((image_size, image_size, 1), dtype="uint8", name="pixels")
    try:
        features = _custom_trunk(pixels) if name == "custom_cnn" else _backbone(name, pixels, scaling, weights)
    except ValueError as error:
        raise ProjectError(f"{name} at {image_size} pixels: {str(error).splitlines()[0]}") from None
    hidden = layers.Dense(128, activation="relu", name="hidden")(features)
    if name == "custom_cnn":
        hidden = layers.Dropout(0.2)(hidden)
    logit = layers.Dense(1, dtype="float32", name="logit")(hidden)
    return keras.Model(pixels, layers.Activation("sigmoid", dtype="float32", name="probability")(logit), name=name)


def starting_weights_digest(name: str, weights: str) -> str:
    """SHA-256 of the weight file a run starts from; `random` and `keras-download` where there is none to hash."""
    if weights == "random":
        return "random"
    path = _weight_file(name)
    return sha256_of(path) if path else "keras-download"


def _custom_trunk(pixels):
    x = _three_channels(layers.Rescaling(1 / 255, name="scaling")(pixels))
    for place, (filters, dropout) in enumerate(CUSTOM_BLOCKS, 1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"block{place}_conv")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"block{place}_dropout")(x)
        x = layers.BatchNormalization(name=f"block{place}_norm")(x)
        x = layers.MaxPooling2D(2, name=f"block{place}_pool")(x)
    return layers.Flatten(name="flatten")(x)


def _backbone(name: str, pixels, scaling: str, weights: str):
    """The trunk on three equal channels, ending in global max pooling; every layer trainable."""
    backbone = BACKBONES[name]
    own = scaling == "own"
    x = _three_channels(layers.Rescaling(1.0 if own else 1 / 255, name="scaling")(pixels))
    if own:
        x = backbone.preprocess(x)
    trunk = backbone.build(include_top=False, weights=None, input_tensor=x, pooling="max")
    if weights == "imagenet":
        trunk.set_weights(_imagenet_weights(name, backbone, pixels.shape[1]))
    return trunk.output


def _three_channels(x):
    return layers.Concatenate(name="three_channels")([x, x, x])


def _imagenet_weights(name: str, backbone: Backbone, image_size: int) -> list[Any]:
    """From the folder that CXR_WEIGHTS names, else Keras' own download. Never a silent random start."""
    source = _weight_file(name) or "imagenet"
    try:
        donor = backbone.build(
            include_top=False, weights=str(source), input_shape=(image_size, image_size, 3), pooling="max"
        )
    except Exception as error:  # noqa: BLE001 - h5py, urllib and Keras each raise their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ProjectError(
            f"ImageNet weights of {name} cannot be had from {source}: {reason}; "
            "set CXR_WEIGHTS to a folder of weight files, or ask for a random start by weights: random"
        ) from None
    return donor.get_weights()


def _weight_file(name: str) -> Path | None:
    folder = os.environ.get("CXR_WEIGHTS")
    if not folder:
        return None
    path = Path(folder) / BACKBONES[name].file
    if not path.is_file():
        raise ProjectError(
            f"CXR_WEIGHTS has no {path.name}: {folder}; unset it to let Keras download, or set weights: random"
        )
    return path
