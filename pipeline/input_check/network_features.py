"""What a network sees of an image, as one more output of its graph: the channel means of its last map at the two
lowest resolutions.

The maps are computed anyway, so the output costs no further forward pass, and it changes no other output.
"""

import onnx
from onnx import TensorProto, helper, shape_inference

from pipeline.errors import ProjectError

OUTPUT = "features"
LEVELS = 2  # the smallest maps: larger ones tell hospitals apart


def add(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with the output `features` float32 [n, k]; one that has it already stays as it is."""
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    graph = extended.graph
    if any(output.name == OUTPUT for output in graph.output):
        return extended
    means, width = [], 0
    if not (maps := _last_maps(model)):
        raise ProjectError(
            "the network's graph has no map that its logit is computed from: the input check cannot read it"
        )
    for size, (tensor, channels) in sorted(maps.items())[:LEVELS]:
        means.append(f"{OUTPUT}_{size}")
        graph.node.append(helper.make_node("ReduceMean", [tensor], means[-1:], means[-1], axes=[2, 3], keepdims=0))
        width += channels
    graph.node.append(helper.make_node("Concat", means, [OUTPUT], OUTPUT, axis=1))
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", width]))
    onnx.checker.check_model(extended)
    return extended


def width(model: onnx.ModelProto) -> int:
    """How many numbers the output has; 0 where there is none."""
    shapes = {output.name: output.type.tensor_type.shape.dim for output in model.graph.output}
    return int(shapes[OUTPUT][1].dim_value) if OUTPUT in shapes else 0


def _last_maps(model: onnx.ModelProto) -> dict[int, tuple[str, int]]:
    """By height, below the image's own: the last map [n, channels, height, width] that the logit is computed from."""
    inferred = shape_inference.infer_shapes(model)
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in inferred.graph.value_info
    }
    maps = {
        name: shape for name, shape in shapes.items() if len(shape) == 4 and shape[0] == 0
    }  # 0: any number of images
    side = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    last = {}
    for node in _before_the_logit(model.graph):
        for name in node.output:
            _, channels, height, width = maps.get(name, [0, 0, 0, 0])
            if 1 < height == width < side and node.op_type != "Pad":
                last[height] = name, channels
    return last


def _before_the_logit(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that the logit depends on, in their order."""
    needed, nodes = {"logit"}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    return nodes[::-1]
