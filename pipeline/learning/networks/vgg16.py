"""VGG16: Simonyan and Zisserman, "Very Deep Convolutional Networks", ICLR 2015, arXiv:1409.1556."""

from typing import Any

from pipeline.learning.networks import Network


def application(**options: Any) -> Any:
    """A `keras.Model` with the options of Keras Applications."""
    import keras

    return keras.applications.VGG16(**options)


def preprocess(images: Any) -> Any:
    """What its ImageNet weights were trained with; grey values in 0 to 255."""
    import keras

    return keras.applications.vgg16.preprocess_input(images)


NETWORK = Network(
    smallest_side=32, application=application, preprocess=preprocess, weight_file="vgg16_notop.weights.h5"
)
