"""From a Keras network to the one ONNX graph that ships: pixels in; logit, recalibrated probability and map out.

The graph's bytes depend on the network, its weights and the settings alone: nodes stand in the order in which the outputs
need them and tensors are named by that order, so that neither a counter of names nor a hash seed leaves a trace.
"""

import tempfile
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import onnx
from keras import ops
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import ProjectError
from pipeline.learning.saliency import explainer

OPSET = 17
SMALLEST = 256  # numbers; a smaller tensor (biases, scales) saves nothing in float16
FLOAT16_MAX = 65504.0
CALIBRATION = ("scaled", "recalibrated", "probability")  # the nodes that `calibrate` adds


def to_onnx(network: keras.Model, weights: Literal["float16", "float32"]) -> onnx.ModelProto:
    """The network as a graph from `pixels` uint8 [n, side, side, 1] to `logit` float32 [n] and `map` float32 [n, h, w].

    Args:
        network: one of `networks.build`, in float32, with its weights loaded.
        weights: how kernels are stored; they are computed with in float32 either way.

    Raises:
        ProjectError: a weight is not finite, or the network's head is none that the map is defined for.
    """
    for variable in network.weights:
        if not np.isfinite(variable.numpy()).all():
            raise ProjectError(f"{network.name}: weight {variable.path} is not finite; train the run again")
    full = explainer(network)
    outputs = {"logit": ops.reshape(full.output["logit"], (-1,)), "map": full.output["map"]}
    signature = keras.InputSpec(shape=(None, *network.input.shape[1:]), dtype="uint8", name="pixels")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        keras.Model(full.input, outputs).export(
            str(path), format="onnx", verbose=False, input_signature=[signature], opset_version=OPSET
        )
        model = onnx.load(path)
    if weights == "float16":
        _halve(model.graph)
    return _canonical(model, network.name)


def calibrate(model: onnx.ModelProto, intercept: float, slope: float) -> onnx.ModelProto:
    """Add the output `probability` float32 [n]: the sigmoid of `intercept + slope * logit`."""
    calibrated = onnx.ModelProto()
    calibrated.CopyFrom(model)
    graph = calibrated.graph
    constants = {"slope": slope, "intercept": intercept}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()
    )
    graph.node.extend(
        [
            helper.make_node("Mul", ["logit", "slope"], ["scaled"], "scaled"),
            helper.make_node("Add", ["scaled", "intercept"], ["recalibrated"], "recalibrated"),
            helper.make_node("Sigmoid", ["recalibrated"], ["probability"], "probability"),
        ]
    )
    graph.output.insert(1, helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n"]))
    onnx.checker.check_model(calibrated)
    return calibrated


def uncalibrate(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph that `calibrate` was given: the same logits and maps, no probability."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for field, added in (
        (plain.graph.node, CALIBRATION),
        (plain.graph.initializer, ("slope", "intercept")),
        (plain.graph.output, ("probability",)),
    ):
        kept = [part for part in field if part.name not in added]
        del field[:]
        field.extend(kept)
    onnx.checker.check_model(plain)
    return plain


def _halve(graph: onnx.GraphProto) -> None:
    """Store kernels as float16, each with a cast back to float32 behind it."""
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.ndim < 2 or values.size < SMALLEST:
            continue
        if np.abs(values).max() > FLOAT16_MAX:
            continue
        name, stored = tensor.name, f"{tensor.name}/float16"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], stored, to=TensorProto.FLOAT))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)


def _canonical(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The same graph with nodes, tensors and constants in the order and under the names that the outputs give them."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    names = {"pixels": "pixels"} | {output.name: output.name for output in graph.output}
    nodes: list[onnx.NodeProto] = []
    used: list[str] = []
    for place, node in enumerate(_in_order_of_need(graph)):
        for tensor in node.input:
            if tensor in constants and tensor not in names:
                names[tensor] = f"constant_{len(used)}"
                used.append(tensor)
        for output in node.output:
            names.setdefault(output, f"{node.op_type.lower()}_{place}")
        renamed = helper.make_node(
            node.op_type,
            [names[tensor] if tensor else "" for tensor in node.input],
            [names[tensor] for tensor in node.output],
            f"{node.op_type.lower()}_{place}",
            domain=node.domain or None,
        )
        renamed.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
        nodes.append(renamed)
    initializers = []
    for tensor in used:
        values = numpy_helper.to_array(constants[tensor])
        initializers.append(numpy_helper.from_array(values, names[tensor]))
    side = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    shapes = {output.name: output.type.tensor_type.shape.dim for output in graph.output}
    height, width = (dimension.dim_value for dimension in shapes["map"][1:])
    canonical = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", side, side, 1])],
        [
            helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("map", TensorProto.FLOAT, ["n", height, width]),
        ],
        initializers,
    )
    return helper.make_model(
        canonical,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="pipeline",
    )


def _in_order_of_need(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on, each after the ones it depends on: depth first, first input first."""
    nodes = list(graph.node)
    producer = {output: place for place, node in enumerate(nodes) for output in node.output}
    ordered: list[int] = []
    done: set[int] = set()
    stack = [producer[name] for name in ("map", "logit")]
    while stack:
        place = stack[-1]
        waiting = [producer[name] for name in nodes[place].input if name in producer and producer[name] not in done]
        if waiting:
            stack.append(waiting[0])
            continue
        stack.pop()
        if place not in done:
            done.add(place)
            ordered.append(place)
    return [nodes[place] for place in ordered]
