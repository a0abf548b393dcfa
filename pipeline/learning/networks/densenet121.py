"""DenseNet121: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017, doi:10.1109/CVPR.2017.243."""

from typing import Any

from pipeline.learning.networks import Network


def application(**options: Any) -> Any:
    """A `keras.Model` with the options of Keras Applications."""
    import keras

    return keras.applications.DenseNet121(**options)


def preprocess(images: Any) -> Any:
    """What its ImageNet weights were trained with; grey values in 0 to 255."""
    import keras

    return keras.applications.densenet.preprocess_input(images)


NETWORK = Network(
    smallest_side=32, application=application, preprocess=preprocess, weight_file="densenet121_notop.weights.h5"
)
