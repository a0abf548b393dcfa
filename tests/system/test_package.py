"""`package` on a small trained network: what it promises is what its graph does."""

import json
import shutil

import numpy as np
import pytest
from candidate_fixture import CHILDREN, HOME, RUN, SIDE, command, write_network, write_root

from pipeline import outcomes, paths
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap
from pipeline.inference import Graph
from pipeline.input_check import guard, ood_negatives
from pipeline.registry import contract, validation_predictions
from pipeline.robustness.families import TRAINED, UNSEEN
from pipeline.stages import package

PACKAGE = "pipeline.stages.package"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = write_root(tmp_path_factory.mktemp("package") / ".work" / "try")
    write_network(folder)
    result = command(folder, PACKAGE)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def candidate(root):
    return root / "models" / "candidate"


def pixels(root, part, of=lambda row: True):
    rows = read_table(root / "data" / "arrays" / f"{part}.csv")
    chosen = [place for place, row in enumerate(rows) if of(row)]
    return np.load(root / "data" / "arrays" / f"{part}.npy")[chosen], [rows[place] for place in chosen]


def held_out(row):
    return row["patient"].startswith("validation")


def test_the_contract_holds(root, candidate):
    assert contract.check(candidate) == []
    terms = contract.read(candidate)
    assert terms["input"] == {"name": "pixels", "dtype": "uint8", "shape": [None, SIDE, SIDE, 1], "range": [0, 255]}
    assert terms["outputs"]["map"]["shape"] == [None, 2, 2]
    assert (terms["run"], terms["dataset"], terms["precision"]) == (RUN, "phantom", "float32")
    assert terms["prevalence"] == 0.5
    assert terms["trained_with"] is None, "this run is older than environment.json"
    features = Graph(candidate / "model.onnx").answer(np.zeros((1, SIDE, SIDE), np.uint8)).features
    assert terms["outputs"]["features"]["shape"] == [None, features.shape[1]]
    assert set(terms["files"]) == {"model.onnx", "guard.npz", "predictions.csv", "stress.csv", "unseen.csv"}
    assert "Not a medical device" in terms["intended_use"] and terms["changelog"]


def test_the_version_is_of_what_answers_and_of_nothing_else(candidate):
    terms = contract.read(candidate)
    told = terms | {"figures": {}, "changelog": ["Other words."], "intended_use": "", "trained_with": {"python": "3"}}
    told["files"] = terms["files"] | {"predictions.csv": "0" * 64}
    assert contract.version_of(told) == contract.version_of(terms) == terms["version"]
    limits = terms["thresholds"]
    for change in (
        {"files": terms["files"] | {"model.onnx": "0" * 64}},
        {"files": terms["files"] | {"guard.npz": "0" * 64}},
        {"recalibration": terms["recalibration"] | {"slope": 2.0}},
        {"thresholds": limits | {"lower": limits["lower"] | {"score": 0.01}}},
    ):
        assert contract.version_of(terms | change) != terms["version"]


def test_champions_in_git_keep_their_names():
    folders = sorted(path for path in (paths.ROOT / "models" / "champions").iterdir() if path.is_dir())
    assert folders
    for folder in folders:
        assert contract.version_of(contract.read(folder)) == folder.name


def test_metrics_and_operating_points_are_the_shipped_graphs_own(root, candidate):
    terms, graph = contract.read(candidate), Graph(candidate / "model.onnx")
    for part, split, of in (("development", "validation", held_out), ("test", "test", lambda row: True)):
        images, rows = pixels(root, part, of)
        answered = graph.answer(images)
        labels = np.array([row["label"] == "PNEUMONIA" for row in rows])
        sample = bootstrap.draw(labels, [row["patient"] for row in rows], 0, 0)
        estimates = terms["figures"][split]
        assert estimates["auc"]["value"] == pytest.approx(bootstrap.auc(labels, answered.logits, sample)[0], abs=2e-5)
        for point in ("sensitive", "specific"):
            called = answered.probabilities >= terms["operating_points"][point]["threshold"]
            assert estimates[f"sensitivity_at_{point}"]["value"] == pytest.approx(called[labels].mean(), abs=2e-5)
            assert estimates[f"specificity_at_{point}"]["value"] == pytest.approx(1 - called[~labels].mean(), abs=2e-5)
        losses = -np.log(np.where(labels, answered.probabilities, 1 - answered.probabilities))
        assert estimates["log_loss_recalibrated"]["value"] == pytest.approx(losses.mean(), abs=1e-4)
    stress = terms["figures"]["stress"]
    assert stress["sensitivity_at_sensitive"]["value"] >= 0.95
    assert stress["specificity_at_specific"]["value"] >= 0.95


def test_the_probability_means_what_it_says_on_validation(root, candidate):
    images, rows = pixels(root, "development", held_out)
    probabilities = Graph(candidate / "model.onnx").answer(images).probabilities
    # A logistic recalibration with an intercept makes the mean probability the share of pneumonia.
    assert probabilities.mean() == pytest.approx(np.mean([row["label"] == "PNEUMONIA" for row in rows]), abs=1e-4)


def test_the_answers_kept_for_later_candidates_are_the_graphs(root, candidate):
    kept = validation_predictions.read(candidate)
    images, rows = pixels(root, "development", held_out)
    order = np.argsort([row["path"] for row in rows], kind="stable")
    assert kept.clean.paths == [rows[place]["path"] for place in order]
    assert len(kept.clean.paths) == 2 * CHILDREN["validation"]
    logits = Graph(candidate / "model.onnx").answer(images[order]).logits
    np.testing.assert_allclose(kept.clean.logits, logits, atol=1e-4)
    assert set(kept.stress) == set(TRAINED.changes)
    darker = Graph(candidate / "model.onnx").answer(TRAINED.changes["darker_0.15"](images[order])).logits
    np.testing.assert_allclose(kept.stress["darker_0.15"], darker, atol=1e-4)
    shadow = Graph(candidate / "model.onnx").answer(UNSEEN.changes["shadow_left_0.9"](images[order])).logits
    np.testing.assert_allclose(kept.unseen["shadow_left_0.9"], shadow, atol=1e-4)


def test_the_maps_scale_is_of_the_validation_images(root, candidate):
    low, high = contract.read(candidate)["map_scale"]
    maps = Graph(candidate / "model.onnx").answer(pixels(root, "development", held_out)[0]).maps
    assert low == 0 and 0.9 < np.mean(maps.max(axis=(1, 2)) <= high) < 1


def test_the_guard_ships_and_refuses_what_it_says(root, candidate):
    fitted, images = guard.load(candidate / "guard.npz"), pixels(root, "test")[0]
    refused = (
        guard.scores(fitted, images, Graph(candidate / "model.onnx").answer(images).features) > fitted["threshold"]
    )
    terms = contract.read(candidate)["guard"]
    assert terms["test_refused"]["value"] == pytest.approx(refused.mean(), abs=2e-5)
    assert terms["test_refused"]["low"] <= terms["test_refused"]["value"] <= terms["test_refused"]["high"]
    assert set(terms["accepted_of_kinds_left_out_of_fitting"]) == set(ood_negatives.KINDS)
    assert terms["validation_refused"]["value"] <= 0.01


def test_the_card_says_what_the_contract_says(candidate):
    text, terms = (candidate / "card.md").read_text(), contract.read(candidate)
    assert terms["version"] in text and "generated images (phantoms)" in text
    assert f"{terms['figures']['test']['auc']['value']:.3f} (" in text
    lower, upper = outcomes.thresholds(terms)
    for said in (
        f"below {lower.score:.4f}",
        f"from {upper.score:.4f} on",
        lower.criterion,
        upper.criterion,
        terms["thresholds"]["order"],
    ):
        assert said in text
    assert outcomes.calibration(terms) in text and "Share of indeterminate images: validation" in text


def test_a_bit_that_changed_is_found(candidate, tmp_path):
    copy = shutil.copytree(candidate, tmp_path / "copy")
    changed = json.loads((copy / "contract.json").read_text())
    changed["thresholds"]["lower"]["score"] = 0.001
    (copy / "contract.json").write_text(json.dumps(changed))
    told = contract.check(copy)
    assert "its content says" in told[0] and "are not the operating points" in told[1]
    (copy / "guard.npz").write_bytes(b"")
    assert contract.check(copy) == ["copy/guard.npz is not the file that was packaged"]


@pytest.mark.slow
def test_the_same_inputs_give_the_same_bytes(root, candidate):
    before = {path.name: path.read_bytes() for path in candidate.iterdir()}
    assert command(root, PACKAGE, PYTHONHASHSEED="123").returncode == 0
    assert before == {path.name: path.read_bytes() for path in candidate.iterdir()}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Where the run's weights are looked for."""
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    path = tmp_path / RUN / "network.weights.h5"
    path.parent.mkdir()
    return path


FACTS = {"network": "custom_cnn", "image_size": SIDE, "scaling": "unit"}


def test_weights_that_are_not_at_hand_are_named(weights):
    with pytest.raises(ProjectError, match=f"models/runs/{RUN} is not here, and no champion is of this run: `dvc pull"):
        package._export(RUN, FACTS, "float16")


def test_a_run_whose_weights_are_nowhere_is_packaged_from_the_champion_that_it_became(
    root, candidate, weights, tmp_path, monkeypatch
):
    shipped = tmp_path / "champions" / f"{RUN}-0123abcd"
    shutil.copytree(candidate, shipped)
    monkeypatch.setattr(paths, "CHAMPIONS", shipped.parent)
    model = package._export(RUN, FACTS, "float16")
    assert [output.name for output in model.graph.output] == ["logit", "map", "features"]
    terms = contract.read(shipped)
    used = terms["recalibration"]
    again = package._load(tmp_path / "model.onnx", model, used["intercept"], used["slope"])
    images, _ = pixels(root, "test")
    for first, second in zip(Graph(shipped / "model.onnx").answer(images), again.answer(images), strict=True):
        assert np.array_equal(first, second)
    (shipped / "model.onnx").write_bytes(b"another network")
    with pytest.raises(ProjectError, match="no champion is of this run"):
        package._export(RUN, FACTS, "float16")


def test_half_a_file_and_another_networks_weights_are_refused(root, weights):
    content = (root / "models" / "runs" / RUN / "network.weights.h5").read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(ProjectError, match="holds no weights of custom_cnn"):
        package._export(RUN, FACTS, "float16")
    weights.write_bytes(content)
    with pytest.raises(ProjectError, match="holds no weights of vgg16"):
        package._export(RUN, FACTS | {"network": "vgg16"}, "float16")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "metrics/candidate.json is missing"),
        ("{", "no valid JSON"),
        ('{"released": null}', "no run may be released"),
    ],
)
def test_no_candidate_is_said_in_one_line_and_the_last_one_stays(tmp_path, text, said):
    root = tmp_path / "project"
    (root / "metrics").mkdir(parents=True)
    shutil.copy(HOME / "params.yaml", root / "params.yaml")
    kept = root / "models" / "candidate" / "card.md"
    kept.parent.mkdir(parents=True)
    kept.write_text("old")
    if text is not None:
        (root / "metrics" / "candidate.json").write_text(text)
    result = command(root, PACKAGE)
    assert result.returncode == 1 and said in result.stderr and result.stderr.count("\n") == 1
    assert kept.read_text() == "old"
