"""InceptionV3: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, doi:10.1109/CVPR.2016.308."""

from typing import Any

from pipeline.learning.networks import Network


def application(**options: Any) -> Any:
    """A `keras.Model` with the options of Keras Applications."""
    import keras

    return keras.applications.InceptionV3(**options)


def preprocess(images: Any) -> Any:
    """What its ImageNet weights were trained with; grey values in 0 to 255."""
    import keras

    return keras.applications.inception_v3.preprocess_input(images)


NETWORK = Network(
    smallest_side=75, application=application, preprocess=preprocess, weight_file="inceptionv3_notop.weights.h5"
)
