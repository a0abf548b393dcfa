"""Looking inside networks: what is drawn is theirs, the stage leaves what it promises, and mistakes are named."""

import json

import keras
import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.learning import architecture, inspection
from pipeline.learning.networks import head
from tests.candidate_fixture import RUN, command
from tests.explain_fixture import explained

SIDE = 96


@pytest.fixture(scope="module")
def network():
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    return head.build("custom_cnn", SIDE)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)


def test_feature_maps_are_the_first_channels_of_the_layers(network, image):
    maps = inspection.feature_maps(network, image, ["block1_conv", "block3_pool"])
    direct = keras.Model(network.input, network.get_layer("block3_pool").output)(image[None, ..., None])
    np.testing.assert_array_equal(maps["block3_pool"], np.asarray(direct)[0, :, :, 0])
    assert maps["block1_conv"].shape == (SIDE - 2, SIDE - 2)
    chosen = inspection.first_and_last(network)
    assert len(chosen) == 12
    assert (chosen[0], chosen[-1]) == ("block1_conv", "block5_pool")


def test_what_cannot_be_drawn_is_named(network, image):
    with pytest.raises(
        ProjectError, match="no layer 'block6_conv' with feature maps; choose from block1_conv, .*block5_pool"
    ):
        inspection.feature_maps(network, image, ["block6_conv"])
    with pytest.raises(ProjectError, match="no layer is named; choose from block1_conv"):
        inspection.feature_maps(network, image, [])
    with pytest.raises(ProjectError, match="takes images of 96 x 96 pixels as uint8; these are 40 x 40 as uint8"):
        inspection.feature_maps(network, image[:40, :40], ["block1_conv"])
    with pytest.raises(ProjectError, match="list of images is empty"):
        inspection.study_map(network, image[None][:0])
    pixels = keras.Input((8, 8, 1), dtype="uint8")
    flat = keras.Model(pixels, keras.layers.Dense(1)(keras.layers.Flatten(name="flat")(pixels)), name="odd")
    with pytest.raises(ProjectError, match="odd has no convolution; its layers are .*flat"):
        inspection.first_and_last(flat)


def test_the_studys_map_weighs_and_sums_the_channels_of_the_last_convolution(network, image):
    layer, maps = inspection.study_map(network, image[None])
    assert layer == "block5_conv"
    features = np.asarray(keras.Model(network.input, network.get_layer(layer).output)(image[None, ..., None]))
    kernel, logit = (np.asarray(network.get_layer(name).kernel) for name in ("hidden", "logit"))
    weights = np.zeros(features.shape[-1])
    for row in range(len(kernel)):
        weights[row % len(weights)] += kernel[row] @ logit[:, 0]
    np.testing.assert_allclose(maps, np.einsum("nhwc,c->nhw", features, weights), rtol=1e-3, atol=1e-5)


def test_the_layer_of_the_studys_map_in_xception_and_where_convolutions_are_joined():
    images = np.zeros((1, 75, 75), np.uint8)
    assert inspection.study_map(head.build("xception", 75), images)[0] == "block14_sepconv2"
    joined = head.build("densenet121", 75)
    name, maps = inspection.study_map(joined, images)
    assert joined.get_layer(name).output.shape[-1] == 1024
    assert maps.shape == (1, 2, 2)


def test_weights_go_from_the_top_and_come_back(network):
    before = network.get_weights()
    keras.utils.set_random_seed(2)
    reinitialised = head.build("custom_cnn", SIDE)
    seen = []
    for layer, share in inspection.cascade(network, reinitialised, 4):
        seen.append((layer, share))
        top = network.get_layer("logit").kernel
        np.testing.assert_array_equal(top, reinitialised.get_layer("logit").kernel)
        assert np.array_equal(network.get_layer("block1_conv").kernel, before[0]) == (share < 1)
    assert [layer for layer, _ in seen[:2]] == ["logit", "hidden"]
    assert seen[-1] == ("block1_conv", 1.0)
    assert all(earlier < later for (_, earlier), (_, later) in zip(seen, seen[1:], strict=False))
    for weights, kept in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, kept)


@pytest.mark.parametrize("name", ["custom_cnn", "inception_v3", "vgg16"])
def test_a_drawing_leaves_no_layer_and_no_weight_out(name):
    built = head.build(name, 96)
    rows = architecture.describe(built, in_full=name == "custom_cnn")
    assert sum(row["parameters"] for row in rows) == built.count_params()
    assert sum(row["layers"] for row in rows) == len(built.layers)
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)
    expected = {"custom_cnn": "block5_conv", "inception_v3": "mixed10", "vgg16": "block5"}
    assert expected[name] in names


def test_blocks_of_a_network_with_other_names_are_found_by_the_size_of_their_maps():
    """Also where a vector stands between maps, as in squeeze-and-excitation."""
    layers = keras.layers
    pixels = keras.Input((32, 32, 1), name="pixels")
    x = layers.Conv2D(4, 3, padding="same", name="stem_conv")(pixels)
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="down")(x)
    gate = layers.Reshape((1, 1, 4))(layers.Dense(4, name="excite")(layers.GlobalAveragePooling2D(name="squeeze")(x)))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="deeper")(layers.Multiply()([x, gate]))
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D(name="gap")(x))
    x = layers.Dropout(0.1)(layers.Dense(3, name="hidden")(x))
    network = keras.Model(pixels, layers.Activation("sigmoid", name="probability")(layers.Dense(1, name="logit")(x)))
    rows = architecture.describe(network)
    names = [row["name"] for row in rows]
    assert (names[:2], names[-4:]) == (["input", "stage1"], ["pooling", "hidden", "logit", "probability"])
    assert len(set(names)) == len(names)
    shapes = {row["name"]: row["shape"] for row in rows if row["name"].startswith("stage")}
    assert shapes == {"stage1": (32, 32, 4), "stage2": (16, 16, 4), "stage3": (8, 8, 4)}
    assert sum(row["parameters"] for row in rows) == network.count_params()
    assert sum(row["layers"] for row in rows) == len(network.layers)
    in_full = architecture.describe(network, in_full=True)
    assert [row["name"] for row in in_full] == [layer.name for layer in network.layers]


@pytest.fixture(scope="module")
def root():
    return explained()


def test_the_stage_leaves_numbers_curves_and_sheets(root):
    metrics = root / "metrics" / "explain"
    summary = json.loads((metrics / "summary.json").read_text())
    assert (summary["run"], summary["grid"], summary["dataset"]) == (RUN, [2, 2], "phantom")
    assert set(summary["checks"]) == {"randomisation", "masking", "border"}
    assert all({"asks", "found", "passes"} == set(check) for check in summary["checks"].values())
    assert summary["feature_maps"] == {"custom_cnn": RUN, "vgg16": None}
    rows = read_table(metrics / "stress.csv")
    assert {row["split"] for row in rows} == {"validation", "test"}
    assert {"none", "gamma_0.6", "right_2_pixels", "noise_0.005"} <= {row["change"] for row in rows}
    assert {row["picture"] for row in read_table(metrics / "strangers.csv")} >= {"black", "white", "portrait"}
    # The fixture's guard refuses what has much contrast: the portrait, not the black image, none of these radiographs.
    unusual = {row["picture"]: row for row in read_table(metrics / "strangers.csv")}
    assert float(unusual["portrait"]["guard_score"]) > 0 > float(unusual["black"]["guard_score"])
    assert (unusual["portrait"]["refused"], unusual["black"]["refused"]) == ("True", "False")
    refused = {(row["split"], row["pictures"]): float(row["refused"]) for row in read_table(metrics / "unusual.csv")}
    assert refused["validation", "as it is"] == refused["test", "as it is"] == 0
    cascade = read_table(metrics / "randomisation.csv")
    assert [row["layer"] for row in cascade][:2] == ["logit", "hidden"]
    assert float(cascade[-1]["random_share"]) == 1
    for name in ("randomisation", "border", "stress"):
        assert "GENERATED RADIOGRAPHS" in (root / "plots" / "explain" / f"{name}.svg").read_text()
    assert {path.name for path in (root / "plots" / "explain").glob("arch*")} == {
        "architecture-custom_cnn.svg",
        "architecture-vgg16.svg",
    }
    for name in ("maps", "sheet", "feature_maps"):
        with Image.open(root / "reports" / "explain" / f"{name}.png") as sheet:
            assert min(sheet.size) > 200


def test_the_gallery_holds_exactly_the_wrong_test_images(root):
    gallery = root / "reports" / "explain" / "gallery"
    rows = read_table(gallery / "gallery.csv")
    said = read_table(root / "predictions" / RUN / "images.csv")
    wrong = {
        row["path"]
        for row in said
        if row["split"] == "test" and (float(row["logit"]) >= 0) != (row["label"] == "PNEUMONIA")
    }
    assert {row["path"] for row in rows} == wrong
    assert sorted(path.name for path in gallery.glob("*.jpeg")) == sorted(row["file"] for row in rows)


@pytest.mark.slow  # 21 s on two idle cores
def test_numbers_are_the_same_when_it_runs_again(root):
    before = {path.name: path.read_bytes() for path in (root / "metrics" / "explain").iterdir()}
    plots = {path.name: path.read_bytes() for path in (root / "plots" / "explain").iterdir()}
    assert command(root, "pipeline.stages.explain", RUN).returncode == 0
    assert {path.name: path.read_bytes() for path in (root / "metrics" / "explain").iterdir()} == before
    assert {path.name: path.read_bytes() for path in (root / "plots" / "explain").iterdir()} == plots


def test_a_run_that_is_unknown_or_was_never_trained_is_named_in_one_line(root):
    for name, message in (
        ("vgg16-raw-0", "predictions/vgg16-raw-0/run.json is missing: vgg16-raw-0 was never trained"),
        ("vgg19-raw-0", "'vgg19-raw-0' is no run of params.yaml; known: custom_cnn-raw-0, vgg16-raw-0"),
    ):
        before = sorted((root / "metrics" / "explain").iterdir())
        done = command(root, "pipeline.stages.explain", name)
        assert done.returncode == 1
        assert message in done.stderr.splitlines()[-1]
        assert sorted((root / "metrics" / "explain").iterdir()) == before


def test_a_layer_that_is_not_there_is_named_before_anything_is_asked(root, tmp_path):
    """Also in a network that was never trained; this root has no network at all."""
    written = yaml.safe_load((root / "params.yaml").read_text())
    written["explain"]["layers"] = {"vgg16": ["block9_conv1"]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(written))
    done = command(tmp_path, "pipeline.stages.explain", RUN)
    assert done.returncode == 1
    message = "vgg16 has no layer 'block9_conv1' with feature maps; choose from block1_conv1"
    assert message in done.stderr.splitlines()[-1]
