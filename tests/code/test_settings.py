import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline import paths, settings
from pipeline.errors import ProjectError
from pipeline.workspace import merge

PARAMS = yaml.safe_load(paths.PARAMS.read_text())
LINE = {"network": "xception", "group": "raw", "augmentation": "none", "seed": 7, "weights": "random"}


def load(tmp_path, change):
    params = copy.deepcopy(PARAMS)
    change(params)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    return settings.load(path)


def test_the_study_is_there_whole():
    runs = settings.load().table
    study = {(run.network, run.group) for run in runs.values() if run.seed == 0}
    networks = {"custom_cnn", "resnet50", "densenet121", "vgg16", "inception_v3", "xception"}
    assert study == {(network, group) for network in networks for group in ("augmented", "balanced", "raw", "robust")}


def test_a_line_is_trained_in_runs_and_keeps_its_place_in_the_table_in_planned(tmp_path):
    def change(params):
        params["train"]["planned"]["custom_cnn-raw-0"] = params["train"]["runs"].pop("custom_cnn-raw-0")

    trained, planned = settings.load(), load(tmp_path, change)
    assert "custom_cnn-raw-0" in trained.runs
    assert "custom_cnn-raw-0" not in planned.runs
    assert list(trained.table) == list(planned.table)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("train", "common", "epochs"), 0, "train.runs.custom_cnn-augmented-0: epochs: 0"),
        (("train", "groups", "raw", "batch_size"), 0, "train.runs.custom_cnn-raw-0: batch_size: 0"),
        (("train", "common", "learning_rate"), -0.1, "the learning rate: -0.1"),
        (("evaluate", "threshold"), 1.0, "evaluate.threshold: 1.0"),
        (("evaluate", "resamples"), 0, "evaluate.resamples: 0"),
        (("groups", "validation_percent"), 100, "groups.validation_percent: 100"),
        (("groups", "seed"), -1, "groups.seed: -1"),
        (("train", "runs", "custom_cnn-raw-0", "seed"), -1, "train.runs.custom_cnn-raw-0.seed: -1"),
        (("train", "runs", "custom_cnn-raw-0", "seed"), 2**32, "train.runs.custom_cnn-raw-0.seed: 4294967296"),
        (("train", "common", "plateau_factor"), 1.0, "train.runs.custom_cnn-augmented-0: plateau_factor: 1.0"),
        (("train", "common", "plateau_factor"), 0.0, "train.runs.custom_cnn-augmented-0: plateau_factor: 0.0"),
        (("train", "common", "plateau_patience"), 0, "train.runs.custom_cnn-augmented-0: plateau_patience: 0"),
        (("train", "common", "plateau_floor"), -0.1, "train.runs.custom_cnn-augmented-0: plateau_floor: -0.1"),
        (("preprocess", "image_size"), 93, "preprocess.image_size, for custom_cnn-augmented-0: 93"),
    ],
)
def test_a_number_that_no_stage_could_work_with_is_named(tmp_path, path, value, where):
    def change(params):
        for key in path[:-1]:
            params = params[key]
        params[path[-1]] = value

    with pytest.raises(ProjectError, match=f"{where} does not lie between"):
        load(tmp_path, change)


def test_later_layers_win(tmp_path):
    def change(params):
        params["train"]["networks"]["custom_cnn"] = {"epochs": 5, "batch_size": 8}
        params["train"]["groups"]["raw"]["batch_size"] = 16
        params["train"]["runs"]["custom_cnn-raw-0"]["epochs"] = 2

    runs = load(tmp_path, change).table
    assert (runs["custom_cnn-raw-0"].training.epochs, runs["custom_cnn-raw-0"].training.batch_size) == (2, 16)
    assert (runs["custom_cnn-augmented-0"].training.epochs, runs["custom_cnn-augmented-0"].training.batch_size) == (
        5,
        8,
    )
    assert runs["inception_v3-raw-0"].training.epochs == PARAMS["train"]["common"]["epochs"]


def test_fine_tuning_has_its_own_rate():
    runs = settings.load().table
    assert runs["densenet121-robust-0"].starting_rate == 1e-4
    assert runs["custom_cnn-robust-0"].starting_rate == 1e-3


def delete(*path):
    def change(params):
        for key in path[:-1]:
            params = params[key]
        del params[path[-1]]

    return change


def put(value, *path):
    def change(params):
        for key in path[:-1]:
            params = params[key]
        params[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (delete("preprocess", "image_size"), "preprocess: key 'image_size' is missing"),
        (delete("train"), "section 'train' is missing"),
        (put(1, "train", "common", "epoch"), "train.common: unknown key 'epoch'; did you mean 'epochs'?"),
        (put("many", "train", "common", "epochs"), "train.common.epochs: expected int, got 'many'"),
        (put(True, "train", "common", "epochs"), "expected int, got True"),
        (
            put(LINE | {"network": "xceptoin"}, "train", "planned", "xception-raw-7"),
            "'xceptoin' is not in train.networks; did you mean",
        ),
        (
            put(LINE | {"group": "rwa"}, "train", "planned", "xception-raw-7"),
            "'rwa' is not in train.groups; did you mean 'raw'?",
        ),
        (put("noisy", "train", "groups", "raw", "augmentation"), "'noisy' is none of none, geometric, robust"),
        (put("kaggle", "ingest", "dataset"), "'kaggle' is none of chest-xray-pneumonia, phantom"),
        (put([1.0, "x"], "validate", "class_ratio"), "validate.class_ratio[1]: expected float, got 'x'"),
        (
            put(LINE | {"network": "custom_cnn", "weights": "imagenet"}, "train", "planned", "custom_cnn-raw-7"),
            "train.planned.custom_cnn-raw-7: custom_cnn has no ImageNet weights; set weights: random",
        ),
        (
            put(LINE, "train", "runs", "xception.raw"),
            "train.runs.xception.raw: a run's name is of a-z, 0-9, '_' and '-'",
        ),
        (put(LINE, "train", "runs", "../xception"), "train.runs.../xception: a run's name is of"),
        (
            put(LINE, "train", "runs", "floor"),
            "train.runs.floor: a run's name is of a-z, 0-9, '_' and '-', and not 'floor'",
        ),
        (put([LINE], "train", "runs"), "train.runs: expected a mapping, got [{"),
        (put(None, "train", "networks"), "train.networks: expected a mapping, got None"),
        (put(["raw"], "train", "groups"), "train.groups: expected a mapping, got ['raw']"),
        (
            put({}, "train", "networks", "resnet5"),
            "train.networks: 'resnet5' is not in the networks of this project; did",
        ),
        (put(["vgg16"], "train", "runs", "custom_cnn-raw-0", "network"), "['vgg16'] is not in train.networks"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path, change, says):
    with pytest.raises(ProjectError) as error:
        load(tmp_path, change)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_broken_yaml_is_one_line(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("train: [unclosed")
    with pytest.raises(ProjectError, match=r"params.yaml is no valid YAML") as error:
        settings.load(path)
    assert "\n" not in str(error.value)


mappings = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6
)
trees = st.dictionaries(st.sampled_from("abc"), mappings, max_size=3)


@given(trees, trees)
def test_an_overlay_wins_and_nothing_else_changes(base, overlay):
    merged = merge(base, overlay)
    assert merge(merged, overlay) == merged
    assert set(merged) == set(base) | set(overlay)
    for key, value in base.items():
        if key not in overlay:
            assert merged[key] == value


def test_an_overlay_replaces_the_table_of_runs():
    runs = {"one": {"network": "custom_cnn", "group": "raw", "augmentation": "none", "seed": 0, "weights": "random"}}
    assert merge(PARAMS, {"train": {"runs": runs}})["train"]["runs"] == runs
