import json
import os
import subprocess
import sys

import numpy as np
import pytest

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.learning import networks
from pipeline.learning.networks import head

# With one hidden layer of 128 and one output on the trunk's pooled features.
PARAMETERS = {
    "custom_cnn": 558_849,
    "resnet50": 23_850_113,
    "densenet121": 7_168_833,
    "vgg16": 14_780_481,
    "inception_v3": 22_065_185,
    "xception": 21_123_881,
}


@pytest.mark.parametrize("name", networks.names())
def test_every_network_answers_images(name):
    side = max(128, networks.get(name).smallest_side)
    network = head.build(name, side)
    answer = network(np.zeros((2, side, side, 1), np.uint8)).numpy()
    assert network.count_params() == PARAMETERS.get(name, network.count_params())
    assert answer.shape == (2, 1)
    assert ((answer > 0) & (answer < 1)).all()
    assert network.input.dtype == "uint8"
    assert {"logit", "probability"} <= {layer.name for layer in network.layers}
    assert all(layer.trainable for layer in network.layers)


def test_the_custom_network_is_the_study_s():
    network = head.build("custom_cnn", 128)
    trainable = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    assert (trainable, network.count_params() - trainable) == (557_761, 1_088)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert (kinds.count("Conv2D"), kinds.count("MaxPooling2D"), kinds.count("Dropout")) == (5, 5, 4)


@pytest.mark.parametrize("name", ["vgg16", "xception"])
def test_own_scaling_is_the_backbone_s(name):
    """The first layer after scaling sees what Keras Applications' preprocess_input gives."""
    import keras

    network = head.build(name, 96, scaling="own")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 1), dtype=np.uint8)
    first = next(layer for layer in network.layers if type(layer).__name__ == "Conv2D")
    seen = keras.Model(network.input, first.input)(pixels).numpy()
    expected = networks.get(name).preprocess(np.repeat(pixels, 3, axis=-1).astype("float32"))
    assert np.allclose(seen, expected, atol=1e-4)


def test_an_unknown_network_is_named():
    with pytest.raises(ProjectError, match="unknown network 'alexnet'; known: custom_cnn, densenet121"):
        head.build("alexnet", 128)


def test_the_smallest_image_of_each_network_is_the_smallest():
    for name in networks.names():
        network, side = networks.get(name), networks.get(name).smallest_side
        if network.application is None:
            head.build(name, side)
            with pytest.raises(ProjectError, match=f"{name} at {side - 1} pixels"):
                head.build(name, side - 1)
            continue
        with pytest.raises(ValueError, match=f"must be at least {side}x{side}"):
            network.application(include_top=False, weights=None, input_shape=(side - 1, side - 1, 3))


def test_names_and_sizes_of_networks_and_recipes_are_known_without_keras():
    script = (
        "import sys; from pipeline import settings; from pipeline.learning import augmentation, networks; settings.load();"
        "assert [networks.get(name).smallest_side for name in networks.names()];"
        "assert [augmentation.get(name).KINDS for name in augmentation.names()];"
        "sys.exit(bool({'keras', 'tensorflow', 'keras_cv'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=paths.ROOT, check=False).returncode == 0


def test_what_a_person_has_in_keras_json_changes_no_network(tmp_path):
    """Keras reads the file when it is imported, so this is a process of its own."""
    setting = {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1}
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "tensorflow", **setting}))
    script = (
        "import keras; from pipeline.learning.networks import head; network = head.build('custom_cnn', 94);"
        "print(network.output.dtype, network.count_params(), network.get_layer('block1_conv').output.shape,"
        " keras.config.epsilon())"
    )
    environ = os.environ | {"KERAS_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=paths.ROOT, env=environ, capture_output=True, text=True, check=True
    )
    network = head.build("custom_cnn", 94)
    assert done.stdout.split("\n")[0] == (
        f"float32 {network.count_params()} {network.get_layer('block1_conv').output.shape} 1e-07"
    )


def test_weights_that_cannot_be_had_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_WEIGHTS", str(tmp_path))
    with pytest.raises(ProjectError, match=r"CXR_WEIGHTS has no densenet121_notop.weights.h5"):
        head.build("densenet121", 64, weights="imagenet")
    (tmp_path / "densenet121_notop.weights.h5").write_bytes(b"half a file")
    with pytest.raises(ProjectError, match=r"ImageNet weights of densenet121 cannot be had") as error:
        head.build("densenet121", 64, weights="imagenet")
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_an_error(tmp_path, monkeypatch):
    import keras

    donor = keras.applications.VGG16(include_top=False, weights=None, input_shape=(64, 64, 3), pooling="max")
    donor.save_weights(tmp_path / "densenet121_notop.weights.h5")
    monkeypatch.setenv("CXR_WEIGHTS", str(tmp_path))
    with pytest.raises(ProjectError, match="ImageNet weights of densenet121 cannot be had"):
        head.build("densenet121", 64, weights="imagenet")


def test_weights_from_a_folder_are_the_ones_in_the_network(tmp_path, monkeypatch):
    import keras

    donor = keras.applications.VGG16(include_top=False, weights=None, input_shape=(64, 64, 3), pooling="max")
    donor.save_weights(tmp_path / "vgg16_notop.weights.h5")
    monkeypatch.setenv("CXR_WEIGHTS", str(tmp_path))
    network = head.build("vgg16", 64, weights="imagenet")
    loaded = [layer for layer in network.layers if layer.name.startswith("block")]
    assert all(
        np.array_equal(mine, theirs)
        for layer in loaded
        for mine, theirs in zip(layer.get_weights(), donor.get_layer(layer.name).get_weights(), strict=True)
    )


def test_the_custom_network_has_no_imagenet_weights():
    with pytest.raises(ProjectError, match="set weights: random"):
        head.build("custom_cnn", 128, weights="imagenet")


@pytest.mark.skipif(not os.environ.get("CXR_WEIGHTS"), reason="CXR_WEIGHTS names no folder of ImageNet weights")
@pytest.mark.parametrize("name", ["densenet121", "vgg16"])
def test_real_imagenet_weights_tell_images_apart(name):
    weighted, random = head.build(name, 64, weights="imagenet"), head.build(name, 64)
    assert any(
        not np.array_equal(mine, theirs)
        for mine, theirs in zip(weighted.get_weights(), random.get_weights(), strict=True)
        if mine.ndim == 4
    )
