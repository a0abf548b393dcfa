"""Looking inside a trained network: feature maps by layer, the study's map, and weights taken away from the top down."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import ops

from pipeline.errors import ProjectError
from pipeline.learning.saliency import head

FIRST, LAST = 9, 3  # layers of the study's Table 4
CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.SeparableConv2D, keras.layers.DepthwiseConv2D)
PREPARATION = ("pixels", "scaling", "three_channels")


def spatial_layers(network: keras.Model) -> list[str]:
    """Names of the layers that give feature maps [n, h, w, channels], in order, without what prepares the pixels.

    Raises:
        ProjectError: there is no convolution.
    """
    if not any(isinstance(layer, CONVOLUTIONS) for layer in network.layers):
        raise ProjectError(f"{network.name} has no convolution; its layers are {_names(network)}")
    names = [layer.name for layer in network.layers if len(getattr(layer, "output", layer.input).shape) == 4]
    prepared = max((place for place, name in enumerate(names) if name in PREPARATION), default=-1)
    return names[prepared + 1 :]


def first_and_last(network: keras.Model) -> list[str]:
    """The layers of the study's Table 4: the first nine and the last three."""
    names = spatial_layers(network)
    return names if len(names) <= FIRST + LAST else names[:FIRST] + names[-LAST:]


def feature_maps(network: keras.Model, image: np.ndarray, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """The first feature map of each named layer for one image, uint8 [side, side]: float32 [h, w] by name.

    Raises:
        ProjectError: no layer is named, one does not exist or gives no map, or the image has another size.
    """
    if not layers:
        raise ProjectError(f"{network.name}: no layer is named; choose from {', '.join(spatial_layers(network))}")
    known = spatial_layers(network)
    for name in layers:
        if name not in known:
            raise ProjectError(
                f"{network.name} has no layer {name!r} with feature maps; choose from {', '.join(known)}"
            )
    check_images(network, image[None])
    outputs = [network.get_layer(name).output for name in layers]
    maps = keras.Model(network.input, outputs)(image[None, ..., None], training=False)
    maps = maps if isinstance(maps, list) else [maps]
    return {name: ops.convert_to_numpy(feature_map)[0, :, :, 0] for name, feature_map in zip(layers, maps, strict=True)}


def check_images(network: keras.Model, images: np.ndarray) -> None:
    """Raise a `ProjectError` unless `images` is uint8 [n, side, side] with the network's side and n at least 1."""
    side = network.input.shape[1]
    if not len(images):
        raise ProjectError(f"{network.name}: the list of images is empty")
    if images.shape[1:] != (side, side) or images.dtype != np.uint8:
        size = " x ".join(map(str, images.shape[1:]))
        raise ProjectError(
            f"{network.name} takes images of {side} x {side} pixels as uint8; these are {size} as {images.dtype}"
        )


def study_map(network: keras.Model, images: np.ndarray) -> tuple[str, np.ndarray]:
    """The study's formula: the channels of the last convolution, weighted by the dense layers behind it and summed.

    Unlike Grad-CAM it takes every hidden unit as active and keeps what is negative (class activation mapping, Zhou et
    al., CVPR 2016, doi:10.1109/CVPR.2016.319). For Xception the layer is the last convolution of block 14. Where a
    network ends by joining several convolutions, no single one has the weights' channels: the joined features count.

    Args:
        network: one of `networks.build`.
        images: uint8 [n, side, side].

    Returns:
        The layer's name, and maps float32 [n, h, w] in no particular unit.
    """
    check_images(network, images)
    features, hidden = head(network)
    channels = features.shape[-1]
    fitting = [
        layer
        for layer in network.layers
        if isinstance(layer, CONVOLUTIONS)
        and layer.output.shape[1:3] == features.shape[1:3]
        and layer.output.shape[-1] == channels
    ]
    layer = fitting[-1] if fitting else features._keras_history.operation
    kernel = ops.convert_to_numpy(hidden.kernel)
    kernel = kernel.reshape(-1, channels, kernel.shape[1]).sum(axis=0)
    weights = kernel @ ops.convert_to_numpy(network.get_layer("logit").kernel)[:, 0]
    maps = keras.Model(network.input, layer.output)(images[..., None], training=False)
    return layer.name, ops.convert_to_numpy(maps) @ weights


def cascade(network: keras.Model, reinitialised: keras.Model, steps: int) -> Iterator[tuple[str, float]]:
    """Replace the network's weights by those of an untrained one, from the top layer down, step by step.

    Cascading randomisation (Adebayo et al., NeurIPS 2018, arXiv:1810.03292). The first step takes the logit, the second
    the hidden layer, the others equal parts of the trunk. The network has its own weights again when the iterator ends.

    Args:
        network: the trained network; changed in place while this runs.
        reinitialised: the same network, built afresh.
        steps: at least 3; fewer are made of a trunk with fewer layers.

    Yields:
        The lowest layer that was replaced, and the share of all weights that are random by now.
    """
    pairs = [
        (layer, random_layer)
        for layer, random_layer in zip(network.layers, reinitialised.layers, strict=True)
        if layer.weights
    ][::-1]  # from the top
    kept = network.get_weights()
    total = network.count_params()
    trunk = len(pairs) - 2
    ends = sorted({1, 2, *(2 + round(trunk * (step + 1) / (steps - 2)) for step in range(steps - 2))})
    done = replaced = 0
    try:
        for end in ends:
            for layer, random_layer in pairs[done:end]:
                layer.set_weights(random_layer.get_weights())
                replaced += layer.count_params()
            done = end
            yield pairs[end - 1][0].name, replaced / total
    finally:
        network.set_weights(kept)


def _names(network: keras.Model) -> str:
    return ", ".join(layer.name for layer in network.layers)
