"""Looking inside networks: what is drawn is theirs, the checks tell a good map from a bad one, and mistakes are named."""

import json

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import spearmanr

from pipeline.data import probes
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import checks, sanity, selection, statistics
from pipeline.evaluation.checks import Part
from pipeline.evaluation.predictions import Split
from pipeline.learning import architecture, inspection, networks
from tests.candidate_fixture import RUN, command
from tests.explain_fixture import explained

SIDE = 96


@pytest.fixture(scope="module")
def network():
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    return networks.build("custom_cnn", SIDE)


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)


def test_feature_maps_are_the_first_channels_of_the_layers(network, picture):
    maps = inspection.feature_maps(network, picture, ["block1_conv", "block3_pool"])
    direct = keras.Model(network.input, network.get_layer("block3_pool").output)(picture[None, ..., None])
    np.testing.assert_array_equal(maps["block3_pool"], np.asarray(direct)[0, :, :, 0])
    assert maps["block1_conv"].shape == (SIDE - 2, SIDE - 2)
    chosen = inspection.first_and_last(network)
    assert len(chosen) == 12
    assert (chosen[0], chosen[-1]) == ("block1_conv", "block5_pool")


def test_what_cannot_be_drawn_is_named(network, picture):
    with pytest.raises(
        ProjectError, match="no layer 'block6_conv' with feature maps; choose from block1_conv, .*block5_pool"
    ):
        inspection.feature_maps(network, picture, ["block6_conv"])
    with pytest.raises(ProjectError, match="no layer is named; choose from block1_conv"):
        inspection.feature_maps(network, picture, [])
    with pytest.raises(ProjectError, match="takes pictures of 96 x 96 pixels as uint8; these are 40 x 40 as uint8"):
        inspection.feature_maps(network, picture[:40, :40], ["block1_conv"])
    with pytest.raises(ProjectError, match="list of pictures is empty"):
        inspection.study_map(network, picture[None][:0])
    pixels = keras.Input((8, 8, 1), dtype="uint8")
    flat = keras.Model(pixels, keras.layers.Dense(1)(keras.layers.Flatten(name="flat")(pixels)), name="odd")
    with pytest.raises(ProjectError, match="odd has no convolution; its layers are .*flat"):
        inspection.first_and_last(flat)


def test_the_studys_map_weighs_and_sums_the_channels_of_the_last_convolution(network, picture):
    layer, maps = inspection.study_map(network, picture[None])
    assert layer == "block5_conv"
    features = np.asarray(keras.Model(network.input, network.get_layer(layer).output)(picture[None, ..., None]))
    kernel, logit = (np.asarray(network.get_layer(name).kernel) for name in ("hidden", "logit"))
    weights = np.zeros(features.shape[-1])
    for row in range(len(kernel)):
        weights[row % len(weights)] += kernel[row] @ logit[:, 0]
    np.testing.assert_allclose(maps, np.einsum("nhwc,c->nhw", features, weights), rtol=1e-3, atol=1e-5)


def test_the_layer_of_the_studys_map_in_xception_and_where_convolutions_are_joined():
    pictures = np.zeros((1, 75, 75), np.uint8)
    assert inspection.study_map(networks.build("xception", 75), pictures)[0] == "block14_sepconv2"
    joined = networks.build("densenet121", 75)
    name, maps = inspection.study_map(joined, pictures)
    assert joined.get_layer(name).output.shape[-1] == 1024
    assert maps.shape == (1, 2, 2)


def test_weights_go_from_the_top_and_come_back(network):
    before = network.get_weights()
    keras.utils.set_random_seed(2)
    stranger = networks.build("custom_cnn", SIDE)
    seen = []
    for layer, share in inspection.cascade(network, stranger, 4):
        seen.append((layer, share))
        top = network.get_layer("logit").kernel
        np.testing.assert_array_equal(top, stranger.get_layer("logit").kernel)
        assert np.array_equal(network.get_layer("block1_conv").kernel, before[0]) == (share < 1)
    assert [layer for layer, _ in seen[:2]] == ["logit", "hidden"]
    assert seen[-1] == ("block1_conv", 1.0)
    assert all(earlier < later for (_, earlier), (_, later) in zip(seen, seen[1:], strict=False))
    for own, kept in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(own, kept)


@pytest.mark.parametrize("name", ["custom_cnn", "inception_v3", "vgg16"])
def test_a_drawing_leaves_no_layer_and_no_weight_out(name):
    built = networks.build(name, 96)
    rows = architecture.describe(built, in_full=name == "custom_cnn")
    assert sum(row["parameters"] for row in rows) == built.count_params()
    assert sum(row["layers"] for row in rows) == len(built.layers)
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)
    expected = {"custom_cnn": "block5_conv", "inception_v3": "mixed10", "vgg16": "block5"}
    assert expected[name] in names


@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.1, 0.5]))
def test_the_hottest_share_is_exact_and_shuffling_keeps_the_cells(cells, seed, share):
    random = np.random.default_rng(seed)
    maps = random.random((3, cells, cells)).astype(np.float32)
    where = sanity.hottest(maps, 32, share)
    assert (where.sum(axis=(1, 2)) == round(share * 32 * 32)).all()
    large = sanity.enlarge(maps, 32)
    for place in range(3):
        assert large[place][where[place]].min() >= large[place][~where[place]].max()
    again = sanity.shuffled(maps, random)
    np.testing.assert_array_equal(np.sort(again.reshape(3, -1)), np.sort(maps.reshape(3, -1)))


@given(st.integers(0, 2**32 - 1))
def test_rank_correlation_is_spearmans_and_undefined_for_a_constant_map(seed):
    random = np.random.default_rng(seed)
    maps, others = random.integers(0, 4, (2, 5, 3, 3)).astype(float)
    maps[0] = 1
    found = sanity.rank_correlation(maps, others)
    assert np.isnan(found[0])
    for place in range(1, 5):
        if np.ptp(maps[place]) and np.ptp(others[place]):
            assert found[place] == pytest.approx(spearmanr(maps[place].ravel(), others[place].ravel()).statistic)


@given(st.integers(8, 40), st.floats(0.03, 0.3), st.integers(0, 2**32 - 1))
def test_frame_and_middle_make_the_picture(side, share, seed):
    pictures = np.random.default_rng(seed).integers(1, 256, (2, side, side)).astype(np.uint8)
    middle, frame = probes.without_frame(share)(pictures), probes.frame_alone(share)(pictures)
    np.testing.assert_array_equal(middle + frame, pictures)
    assert not ((middle > 0) & (frame > 0)).any()


def test_small_changes_are_small_and_the_same_every_time():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 16)).astype(np.uint8)
    moved = probes.SMALL_CHANGES["right_2_pixels"](pictures)
    np.testing.assert_array_equal(moved[:, :, 2:], pictures[:, :, :-2])
    np.testing.assert_array_equal(moved[:, :, 0], pictures[:, :, 0])
    moved = probes.SMALL_CHANGES["down_2_pixels"](pictures)
    np.testing.assert_array_equal(moved[:, 2:], pictures[:, :-2])
    grey = np.full((1, 200, 200), 100, np.uint8)
    noisy = probes.SMALL_CHANGES["noise_0.005"](grey)
    assert noisy.std() == pytest.approx(0.005 * 255, rel=0.1)
    np.testing.assert_array_equal(noisy, probes.SMALL_CHANGES["noise_0.005"](grey))


def part(pixels: np.ndarray, labels: np.ndarray, maps: np.ndarray, ask) -> Part:
    patients = [f"{'ill' if label else 'well'}{place}" for place, label in enumerate(labels)]
    split = Split(patients, labels, ["viral" if label else "normal" for label in labels], patients, ask(pixels))
    return Part("test", pixels, split, statistics.draw(labels, patients, 200, 0), ask(pixels), maps)


def spots(where: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Noise pictures; the ill ones have a bright spot at `where` of a 4 x 4 grid."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2 == 0
    pixels = random.integers(60, 100, (60, 32, 32)).astype(np.uint8)
    rows, columns = (slice(8 * place, 8 * place + 8) for place in where)
    pixels[labels, rows, columns] += 100
    return pixels, labels


def reads(where: tuple[int, int]):
    rows, columns = (slice(8 * place, 8 * place + 8) for place in where)
    return lambda pictures: (pictures[:, rows, columns].mean(axis=(1, 2)) - 120) / 10.0


def test_masking_passes_for_a_map_of_what_is_read_and_fails_for_a_map_of_something_else():
    pixels, labels = spots((1, 2))
    right, wrong = np.zeros((2, 60, 4, 4), np.float32)
    right[:, 1, 2] = 1
    wrong[:, 3, 0] = 1
    true = checks.masking(part(pixels, labels, right, reads((1, 2))), reads((1, 2)), 0.0, 0.1, 5, 0)
    false = checks.masking(part(pixels, labels, wrong, reads((1, 2))), reads((1, 2)), 0.0, 0.1, 5, 0)
    assert (true["pictures"], true["empty_maps"]) == (30, 0)
    assert true["difference_low"] > 0
    assert true["flipped_hottest"] == 1.0
    assert false["difference_high"] <= 0
    empty = checks.masking(part(pixels, labels, 0 * right, reads((1, 2))), reads((1, 2)), 0.0, 0.1, 5, 0)
    assert (empty["empty_maps"], empty["difference"]) == (30, 0.0)


@pytest.mark.parametrize(("where", "passes"), [((1, 2), True), ((0, 0), False)])
def test_the_border_test_finds_a_network_that_reads_the_corner(where, passes):
    pixels, labels = spots(where)
    own = part(pixels, labels, np.ones((60, 4, 4)), reads(where))
    changes = {"without its frame": probes.without_frame, "frame alone": probes.frame_alone}
    rows = checks.borders(own, reads(where), [0.05, 0.1], changes)
    assert rows[0]["auc"] == 1.0
    cascade = [{"correlation_low": -0.1, "correlation_high": 0.1}]
    assert checks.verdicts(cascade, [], rows)["border"]["passes"] == passes
    frame = [row["auc"] for row in rows if row["shown"] == "frame alone"]
    assert (min(frame) > 0.9) is not passes


def test_flips_are_counted_per_thousand():
    pixels, labels = spots((1, 2))
    own = part(pixels, labels, np.ones((60, 4, 4)), reads((1, 2)))
    rows = checks.stress(
        own, reads((1, 2)), {"dark": lambda pictures: pictures // 2}, {"plain": 0.0, "sensitive": None}
    )
    assert [row["change"] for row in rows] == ["none", "dark"]
    assert rows[0]["plain_flips_per_thousand"] == 0
    assert rows[1]["plain_flips_per_thousand"] == 500  # every ill picture, no healthy one
    assert (rows[1]["auc"], rows[1]["plain_sensitivity"], rows[1]["plain_specificity"]) == (1.0, 0.0, 1.0)


def test_what_is_shown_is_chosen_by_what_was_said():
    labels = np.array([True, True, False, False, True])
    logits = np.array([5.0, -4.0, -3.0, 2.0, 0.1])
    chosen = selection.notable(labels, logits, 0.0, 2)
    assert chosen["confident and right"].tolist() == [2, 0]
    assert chosen["confident and wrong"].tolist() == [1, 3]
    assert chosen["unsure"].tolist() == [4, 3]


@pytest.fixture(scope="module")
def root():
    return explained()


def test_the_stage_leaves_numbers_curves_and_sheets(root):
    metrics = root / "metrics" / "explain"
    summary = json.loads((metrics / "summary.json").read_text())
    assert (summary["run"], summary["grid"], summary["dataset"]) == (RUN, [2, 2], "phantom")
    assert set(summary["checks"]) == {"randomisation", "masking", "border"}
    assert summary["feature_maps"] == {"custom_cnn": RUN, "vgg16": None}
    rows = read_table(metrics / "stress.csv")
    assert {row["split"] for row in rows} == {"validation", "test"}
    assert {"none", "gamma_0.6", "right_2_pixels", "noise_0.005"} <= {row["change"] for row in rows}
    assert {row["picture"] for row in read_table(metrics / "strangers.csv")} >= {"black", "white", "portrait"}
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


def test_the_gallery_holds_exactly_the_wrong_test_pictures(root):
    gallery = root / "reports" / "explain" / "gallery"
    rows = read_table(gallery / "gallery.csv")
    said = read_table(root / "predictions" / RUN / "pictures.csv")
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
        ("vgg16-raw-0", "vgg16-raw-0 was never trained: predictions/vgg16-raw-0/run.json is missing"),
        ("vgg19-raw-0", "'vgg19-raw-0' is no run of params.yaml; known: custom_cnn-raw-0, vgg16-raw-0"),
    ):
        before = sorted((root / "metrics" / "explain").iterdir())
        done = command(root, "pipeline.stages.explain", name)
        assert done.returncode == 1
        assert message in done.stderr.splitlines()[-1]
        assert sorted((root / "metrics" / "explain").iterdir()) == before


def test_a_network_that_learned_nothing_passes_no_check():
    nothing = "undefined"
    cascade = [{"correlation_low": nothing, "correlation_high": nothing}]
    masked = [{"pictures": 10, "difference_low": nothing}]
    bordered = [{"shown": "frame alone", "auc_low": nothing, "auc_high": nothing}]
    assert not any(row["passes"] for row in checks.verdicts(cascade, masked, bordered).values())
