"""Class activation maps as part of the forward pass: Grad-CAM in closed form, in layers that can be exported.

Grad-CAM (Selvaraju et al., ICCV 2017, doi:10.1109/ICCV.2017.74) weighs each channel of a convolution by the mean over
positions of the logit's gradient, sums the channels, and keeps what is positive. In every network here the features are pooled
globally, or flattened with or without a pooling before it, and followed by a dense layer with ReLU and one to the logit. Max
pooling hands each gradient to one position, mean pooling shares it out: its mean over positions is the same either way.

    weight[channel] = 1 / (height * width) * sum_unit( active[unit] * logit_kernel[unit] * kernel[channel, unit] )

where `active` is 1 for units above zero, and `kernel` is the first dense layer's, summed over the positions that are left.
"""

import keras
from keras import ops

from pipeline.errors import ProjectError

POOLINGS = (
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
)
DROPOUTS = (keras.layers.Dropout, keras.layers.SpatialDropout2D)


class Evidence(keras.layers.Layer):
    """The map of one head, from its features and its active units. It reads the head's weights; it has none of its own."""

    def __init__(self, hidden: keras.layers.Dense, logit: keras.layers.Dense, **options):
        super().__init__(**options)
        self.hidden = hidden
        self.logit = logit

    def call(self, features, units):
        """Features float [n, h, w, channels] and units after ReLU float [n, units] to a map float [n, h, w], not negative."""
        height, width, channels = features.shape[1:]
        kernel = ops.sum(ops.reshape(self.hidden.kernel, (-1, channels, units.shape[-1])), axis=0)
        active = ops.cast(units > 0, features.dtype)
        towards = active * ops.reshape(ops.cast(self.logit.kernel, features.dtype), (1, -1))
        weights = ops.matmul(towards, ops.transpose(ops.cast(kernel, features.dtype))) / (height * width)
        evidence = ops.matmul(ops.reshape(features, (-1, height * width, channels)), ops.expand_dims(weights, -1))
        return ops.relu(ops.reshape(evidence, (-1, height, width)))


def explainer(network: keras.Model) -> keras.Model:
    """The network with three outputs from one forward pass. It shares the network's weights, also when they change later.

    Args:
        network: one of `networks.build`, from `pixels` uint8 [n, side, side, 1].

    Returns:
        A model from the same input to {"logit": float [n, 1], "probability": float [n, 1], "map": float [n, h, w]}; the map
        is the evidence for pneumonia on the grid of the head's input, in logit units.

    Raises:
        ProjectError: the network's head is none that the closed form holds for.
    """
    features, hidden = head(network)
    logit = network.get_layer("logit")
    evidence = Evidence(hidden, logit, name="map")
    return keras.Model(
        network.input,
        {"logit": logit.output, "probability": network.output, "map": evidence(features, hidden.output)},
        name=network.name,
    )


def head(network: keras.Model) -> tuple[keras.KerasTensor, keras.layers.Dense]:
    """The features that the head pools or flattens, [n, h, w, channels], and its dense layer with ReLU.

    Raises:
        ProjectError: no such layers; it names the ones that the network has.
    """
    hidden = _before(network.get_layer("logit").input)
    if not isinstance(hidden, keras.layers.Dense) or keras.activations.serialize(hidden.activation) != "relu":
        raise ProjectError(
            f"{network.name}: expected a dense layer with ReLU below the logit; its layers are {_names(network.layers)}"
        )
    end = _before(hidden.input)
    if isinstance(end, keras.layers.Flatten):
        before = _before(end.input)
        end = before if isinstance(before, POOLINGS) else end
    if isinstance(end, (keras.layers.Flatten, *POOLINGS)) and len(end.input.shape) == 4:
        return end.input, hidden
    raise ProjectError(
        f"{network.name}: no global pooling or flattening before the dense layer; its layers are {_names(network.layers)}"
    )


def _before(tensor: keras.KerasTensor) -> keras.layers.Layer:
    """The layer that a tensor comes from; dropout does nothing to it when a network answers."""
    layer = tensor._keras_history.operation
    return _before(layer.input) if isinstance(layer, DROPOUTS) else layer


def _names(layers: list[keras.layers.Layer]) -> str:
    return ", ".join(layer.name for layer in layers) or "none"
