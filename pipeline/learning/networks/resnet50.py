"""ResNet50: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, doi:10.1109/CVPR.2016.90."""

from typing import Any

from pipeline.learning.networks import Network


def application(**options: Any) -> Any:
    """A `keras.Model` with the options of Keras Applications."""
    import keras

    return keras.applications.ResNet50(**options)


def preprocess(images: Any) -> Any:
    """What its ImageNet weights were trained with; grey values in 0 to 255."""
    import keras

    return keras.applications.resnet50.preprocess_input(images)


NETWORK = Network(
    smallest_side=32, application=application, preprocess=preprocess, weight_file="resnet50_notop.weights.h5"
)
