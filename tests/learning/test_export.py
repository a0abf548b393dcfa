"""The shipped graph says what Keras says, stores what it should, and has the same bytes each time."""

import keras
import numpy as np
import onnx
import pytest

from pipeline.errors import ProjectError
from pipeline.inference import Graph
from pipeline.learning import export, networks, saliency
from pipeline.learning.networks import head

SLOW = pytest.mark.slow
NAMES = [
    name
    if name == "custom_cnn"
    else pytest.param(name, marks=SLOW)  # tf2onnx takes 10 s and more for each of the others
    for name in networks.names()
]
SIDE = 96


def lively(name: str) -> keras.Model:
    """A random network with about half of its hidden units active, so that logit and map say something."""
    keras.utils.set_random_seed(0)
    network = head.build(name, SIDE)
    hidden = network.get_layer("hidden")
    before_relu = keras.Model(network.input, hidden.input)(images(4)[..., None]).numpy() @ hidden.kernel.numpy()
    hidden.bias.assign(-np.median(before_relu, axis=0))
    return network


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE)).astype(np.uint8)


def save(model: onnx.ModelProto, path):
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_float32_graph_agrees_with_keras_on_100_images(name, tmp_path):
    network = lively(name)
    graph = export.calibrate(export.to_onnx(network, "float32"), intercept=-0.3, slope=0.7)
    expected = saliency.explainer(network).predict(images(100)[..., None], batch_size=25, verbose=0)
    logits = expected["logit"][:, 0]
    assert np.ptp(logits) > 0 and expected["map"].max() > 0
    for runtime in ("OpenVINO", "ONNX Runtime"):
        answers = Graph(save(graph, tmp_path / "model.onnx"), runtime).answer(images(100))
        np.testing.assert_allclose(answers.logits, logits, atol=1e-4)
        np.testing.assert_allclose(answers.probabilities, 1 / (1 + np.exp(0.3 - 0.7 * logits)), atol=1e-4)
        np.testing.assert_allclose(answers.maps, expected["map"], atol=1e-4)


def test_float16_weights_are_stored_small_and_computed_with_in_float32(tmp_path):
    network = lively("custom_cnn")
    full, half = (export.calibrate(export.to_onnx(network, weights), 0.0, 1.0) for weights in ("float32", "float16"))
    assert save(half, tmp_path / "half.onnx").stat().st_size < 0.6 * save(full, tmp_path / "whole.onnx").stat().st_size
    types = {tensor.data_type for tensor in half.graph.initializer if np.prod(tensor.dims) >= export.SMALLEST}
    assert types == {onnx.TensorProto.FLOAT16}
    casts = {node.input[0]: node for node in half.graph.node if node.op_type == "Cast"}
    for tensor in half.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT16:
            assert casts[tensor.name].attribute[0].i == onnx.TensorProto.FLOAT
    small, other = (Graph(tmp_path / name).answer(images(8)).logits for name in ("half.onnx", "whole.onnx"))
    # Only the rounding of the weights (2^-11 of each) may show, not float16 arithmetic.
    np.testing.assert_allclose(small, other, atol=5e-3)
    assert not np.array_equal(small, other)


def test_bytes_do_not_depend_on_what_was_built_before():
    first = export.to_onnx(lively("custom_cnn"), "float16").SerializeToString(deterministic=True)
    for _ in range(3):
        head.build("custom_cnn", SIDE)
    assert export.to_onnx(lively("custom_cnn"), "float16").SerializeToString(deterministic=True) == first


def test_any_batch_size_is_taken(tmp_path):
    graph = Graph(
        save(export.calibrate(export.to_onnx(lively("custom_cnn"), "float16"), 0.0, 1.0), tmp_path / "m.onnx")
    )
    many = graph.answer(images(40))
    alone = [graph.answer(image[None]) for image in images(40)]
    np.testing.assert_allclose(np.concatenate([answer.logits for answer in alone]), many.logits, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([answer.maps for answer in alone]), many.maps, atol=1e-5)


def test_a_weight_that_is_not_finite_is_named():
    network = head.build("custom_cnn", SIDE)
    network.get_layer("hidden").bias.assign(np.full(128, np.nan))
    with pytest.raises(ProjectError, match="custom_cnn: weight hidden/bias is not finite"):
        export.to_onnx(network, "float16")
