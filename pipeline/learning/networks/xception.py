"""Xception: Chollet, "Xception", CVPR 2017, doi:10.1109/CVPR.2017.195."""

from typing import Any

from pipeline.learning.networks import Network


def application(**options: Any) -> Any:
    """A `keras.Model` with the options of Keras Applications."""
    import keras

    return keras.applications.Xception(**options)


def preprocess(images: Any) -> Any:
    """What its ImageNet weights were trained with; grey values in 0 to 255."""
    import keras

    return keras.applications.xception.preprocess_input(images)


NETWORK = Network(
    smallest_side=71, application=application, preprocess=preprocess, weight_file="xception_notop.weights.h5"
)
