"""The closed form of Grad-CAM against automatic differentiation, for every network."""

import json
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import saliency as benchmark
from benchmarks.support import record
from pipeline.errors import ProjectError
from pipeline.learning import networks, saliency
from pipeline.learning.networks import head

SIDES = {"custom_cnn": 128}  # its last pooling then has 2 x 2 windows; the others take the smallest side they all allow


def gradcam(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Grad-CAM as it is usually written: a tape, the gradient's mean over positions, the weighted sum, ReLU."""
    features, _ = saliency.head(network)
    model = keras.Model(network.input, [features, network.get_layer("logit").output])
    with tf.GradientTape() as tape:
        activations, logits = model(images, training=False)
    weights = tf.reduce_mean(tape.gradient(logits, activations), axis=(1, 2))
    return tf.nn.relu(tf.einsum("nhwc,nc->nhw", activations, weights)).numpy()


@pytest.mark.parametrize("name", networks.names())
def test_closed_form_equals_automatic_differentiation(name):
    keras.utils.set_random_seed(3)
    side = SIDES.get(name, max(75, networks.get(name).smallest_side))
    expect_equal_maps(head.build(name, side))


def expect_equal_maps(network):
    """The map of a random network equals Grad-CAM's, for pneumonia and for its absence."""
    side = network.input.shape[1]
    images = np.random.default_rng(0).integers(0, 256, (4, side, side, 1)).astype(np.uint8)
    logit, hidden = network.get_layer("logit"), network.get_layer("hidden")
    # A new network's units are nearly all active or all dead: centre them on these images so that about half are active.
    before_relu = keras.Model(network.input, hidden.input)(images).numpy() @ hidden.kernel.numpy()
    hidden.bias.assign(-np.median(before_relu, axis=0))
    maps, expected = [], []
    for sign in (1, -1):
        logit.kernel.assign(sign * logit.kernel.numpy())
        output = saliency.explainer(network)(images)
        maps.append(output["map"].numpy())
        expected.append(gradcam(network, images))
        np.testing.assert_allclose(output["probability"], network(images), rtol=1e-5)
    maps, expected = np.stack(maps), np.stack(expected)
    assert expected.max() > 0
    assert np.abs(maps - expected).max() / expected.max() < 1e-4
    assert maps.min() >= 0


L = keras.layers
ENDS = {
    "global max": [L.GlobalMaxPooling2D()],
    "global mean": [L.GlobalAveragePooling2D()],
    "global mean, kept and flattened": [L.GlobalAveragePooling2D(keepdims=True), L.Flatten()],
    "max pooling, flattened": [L.MaxPooling2D(2), L.Flatten()],
    "overlapping mean pooling, dropout, flattened": [L.AveragePooling2D(3, 1, "same"), L.Dropout(0.5), L.Flatten()],
    "flattened, dropout": [L.Flatten(), L.Dropout(0.5)],
}


def trunk_that_ends(ends, monkeypatch):
    """A network of `head.build` whose trunk has a pooling and a dense layer inside, as in squeeze-and-excitation."""

    def trunk(images):
        x = L.Conv2D(6, 3, activation="relu")(images)
        gate = L.Reshape((1, 1, 6))(L.Dense(6, activation="sigmoid")(L.GlobalAveragePooling2D()(x)))
        x = L.Multiply()([x, gate])
        for layer in ends:
            x = layer(x)
        return x

    monkeypatch.setattr(networks, "get", lambda name: networks.Network(smallest_side=8, trunk=trunk, dropout=0.2))
    return head.build("seventh", 13)


@pytest.mark.parametrize("end", ENDS)
def test_the_closed_form_holds_however_the_trunk_ends(end, monkeypatch):
    keras.utils.set_random_seed(3)
    expect_equal_maps(trunk_that_ends(ENDS[end], monkeypatch))


@pytest.mark.parametrize(
    "ends", [[L.Flatten(), L.Dense(8)], [L.GlobalMaxPooling2D(), L.BatchNormalization()]], ids=["dense", "normalized"]
)
def test_a_trunk_that_goes_on_after_its_pooling_is_refused_by_name(ends, monkeypatch):
    network = trunk_that_ends(ends, monkeypatch)
    with pytest.raises(
        ProjectError, match="seventh: no global pooling or flattening before the dense layer; its layers"
    ):
        saliency.explainer(network)


def test_map_follows_the_weights_when_they_change():
    network = head.build("custom_cnn", 96)
    explainer = saliency.explainer(network)
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 1)).astype(np.uint8)
    before = explainer(images)["map"].numpy()
    kernel = network.get_layer("logit").kernel
    kernel.assign(2 * kernel.numpy())
    np.testing.assert_allclose(explainer(images)["map"].numpy(), 2 * before, rtol=1e-5)


def test_a_network_without_a_dense_layer_with_relu_is_refused_by_name():
    pixels = keras.Input((8, 8, 1), dtype="uint8")
    hidden = keras.layers.Dense(4, activation="tanh")(keras.layers.Flatten(name="flat")(pixels))
    network = keras.Model(pixels, keras.layers.Dense(1, name="logit")(hidden), name="odd")
    with pytest.raises(
        ProjectError, match="odd: expected a dense layer with ReLU below the logit; its layers are .*flat"
    ):
        saliency.explainer(network)


def test_the_benchmark_fails_past_its_limit_and_keeps_the_other_networks_rows(monkeypatch, tmp_path):
    kept = tmp_path / "measured.json"
    before = {"what": "maps of 8 images, vgg16", "unit": "s", "here": 3.0, "peer": 2.0, "beside": "plain prediction"}
    kept.write_text(json.dumps({"saliency": {"cores": 2, "rows": [before]}, "demo": {"cores": 2, "rows": []}}))
    monkeypatch.setattr(record, "KEPT", kept)
    monkeypatch.setattr(benchmark, "IMAGES", 8)
    monkeypatch.setattr(sys, "argv", ["saliency", "custom_cnn"])
    monkeypatch.setattr(benchmark, "LIMIT", 1e9)
    benchmark.main()
    monkeypatch.setattr(benchmark, "LIMIT", 0.0)
    with pytest.raises(SystemExit, match="past the limit: custom_cnn"):
        benchmark.main()
    stored = json.loads(kept.read_text())
    assert set(stored) == {"saliency", "demo"}
    rows = stored["saliency"]["rows"]
    assert rows[0] == before
    assert [row["what"] for row in rows] == ["maps of 8 images, vgg16", "maps of 8 images, custom_cnn"]
