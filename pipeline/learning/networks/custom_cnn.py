"""The study's own network: five blocks of an unpadded convolution, dropout, batch normalization and max pooling."""

from typing import Any

from pipeline.learning.networks import Network

BLOCKS = ((32, 0.0), (64, 0.1), (64, 0.0), (128, 0.2), (256, 0.2))  # filters, dropout


def trunk(images: Any) -> Any:
    """float32 [n, side, side, 3] to [n, features]; 128 pixels give the study's 558,849 parameters."""
    from keras import layers

    x = images
    for place, (filters, dropout) in enumerate(BLOCKS, 1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"block{place}_conv")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"block{place}_dropout")(x)
        x = layers.BatchNormalization(name=f"block{place}_norm")(x)
        x = layers.MaxPooling2D(2, name=f"block{place}_pool")(x)
    return layers.Flatten(name="flatten")(x)


NETWORK = Network(smallest_side=94, trunk=trunk, dropout=0.2)
