"""A built network as rows for a drawing: what stands after what, how large its output is, and how many weights it has."""

import re
from typing import Any

import keras

BLOCK = re.compile(r"(?P<vgg>block\d+)_|(?P<resnet>conv\d+)_(block\d+|bn|relu|conv|pad)|(?P<inception>mixed\d+)$")
HEAD = ("hidden", "logit", "probability")
PIXELS = ("pixels", "scaling", "three_channels")
Row = dict[str, Any]


def describe(network: keras.Model, in_full: bool = False) -> list[Row]:
    """Rows from pixels to probability: one a block, or one a layer with `in_full`.

    Each row has `name`, `kind` (the layer's class; empty for a block), `shape` of the output, `layers` and `parameters`.
    Layers without a block's name (shortcuts, and most of InceptionV3) count with the named block that they lead to in
    InceptionV3 (`mixed`), and with the block before them elsewhere. Where no layer has a name that is known here, a block
    is what has maps of one size, `stage1` the first.
    """
    names = [layer.name for layer in network.layers] if in_full else _block_names(network)
    rows: list[Row] = []
    for name, layer in zip(names, network.layers, strict=True):
        if not rows or rows[-1]["name"] != name:
            kind = type(layer).__name__ if in_full else ""
            rows.append({"name": name, "kind": kind, "shape": (), "layers": 0, "parameters": 0})
        rows[-1]["shape"] = tuple(layer.output.shape[1:])
        rows[-1]["layers"] += 1
        rows[-1]["parameters"] += layer.count_params()
    return rows


def _block_names(network: keras.Model) -> list[str]:
    """The block of each layer."""
    blocks = [_named(layer) for layer in network.layers]
    if any(name and name.startswith("mixed") for name in blocks):
        blocks = _inception(network, blocks)
    elif not any(BLOCK.match(layer.name) for layer in network.layers):
        blocks = _stages(network, blocks)
    names: list[str] = []
    for place, name in enumerate(blocks):
        before = names[-1] if names else "input"
        # What follows the pixels opens the first block: padding, in DenseNet.
        following = next(later for later in blocks[place:] if later) if before == "input" else before
        names.append(name or following)
    return names


def _named(layer: keras.layers.Layer) -> str | None:
    if layer.name in PIXELS:
        return "input"
    if layer.name in HEAD:
        return layer.name
    if isinstance(layer, keras.layers.GlobalMaxPooling2D):
        return "pooling"
    if isinstance(layer, keras.layers.Flatten):
        return layer.name
    match = BLOCK.match(layer.name)
    return next(group for group in match.groups() if group) if match else None


def _inception(network: keras.Model, blocks: list[str | None]) -> list[str | None]:
    """Layers between two `mixed` layers lead to the second; what comes before the last early pooling is the stem."""
    first = next(place for place, name in enumerate(blocks) if name and name.startswith("mixed"))
    stem = [place for place in range(first) if isinstance(network.layers[place], keras.layers.MaxPooling2D)]
    names = list(blocks)
    following: str | None = None
    for place in range(len(blocks) - 1, -1, -1):
        following = blocks[place] or following
        if blocks[place] is None:
            names[place] = "stem" if stem and place <= stem[-1] else following
    return names


def _stages(network: keras.Model, blocks: list[str | None]) -> list[str | None]:
    """A new stage where the side of the maps differs from the layer's before; what follows the last maps is `pooling`."""
    # A map of one pixel is a gate over channels, as in squeeze-and-excitation: it opens no stage.
    maps = [len(layer.output.shape) == 4 and layer.output.shape[1] > 1 for layer in network.layers]
    last = max((place for place, spatial in enumerate(maps) if spatial), default=-1)
    names, count, side = list(blocks), 0, None
    for place, layer in enumerate(network.layers):
        if blocks[place] is not None:
            continue
        if place == last + 1:
            names[place] = "pooling"
        elif maps[place]:
            count += layer.output.shape[1] != side
            side = layer.output.shape[1]
            names[place] = f"stage{count}"
    return names
