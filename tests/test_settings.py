"""params.yaml: what it holds, and one line for whatever no stage could work with."""

import copy
import datetime
import logging
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline import paths, settings
from pipeline.errors import ProjectError
from pipeline.old_names import RENAMED, warn, with_new_names
from pipeline.schema import Section, load_yaml, parse
from pipeline.workspaces import merge

PARAMS = yaml.safe_load(paths.PARAMS.read_text())
RUN = {"network": "xception", "group": "raw", "augmentation": "none", "seed": 7, "weights": "random", "epochs": 3}
SMALL = copy.deepcopy(PARAMS)  # two runs: as good as all of them, and read in no time
SMALL["train"]["runs"] = {name: PARAMS["train"]["runs"][name] for name in ("custom_cnn-raw-0", "xception-raw-0")}
SMALL["train"]["planned"] = {"xception-raw-7": RUN}
SMALL["gate"]["extra"] = {"site": {"folder": "films", "min_sensitivity": 0.5, "min_specificity": 0.5}}
SMALL["explain"]["layers"] = {"xception": ["block1_conv1"]}
FREE = ("train.runs", "train.planned", "groups.sets", "explain.layers", "gate.extra")  # mappings whose keys are names


def at(tree: Any, path: tuple) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def put(value: Any, *path: Any):
    def change(params):
        at(params, path[:-1])[path[-1]] = value

    return change


def delete(*path: Any):
    def change(params):
        del at(params, path[:-1])[path[-1]]

    return change


def load(folder: Path, *changes, base=SMALL):
    params = copy.deepcopy(base)
    for change in changes:
        change(params)
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    return settings.load(path)


def refused(folder: Path, *changes, base=SMALL) -> str:
    """The one line that says what is wrong."""
    with pytest.raises(ProjectError) as error:
        load(folder, *changes, base=base)
    said = str(error.value)
    assert said.isprintable()
    assert said.startswith("params.yaml: ")
    return said.removeprefix("params.yaml: ")


def places(tree: Any, path: tuple = ()):
    """Every key and every item of a list, as the keys that lead to it."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


PLACES = list(places(SMALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


# What is there


def test_the_study_is_there_whole():
    runs = settings.load().table
    study = {(run.network, run.group) for run in runs.values() if run.seed == 0}
    networks = {"custom_cnn", "resnet50", "densenet121", "vgg16", "inception_v3", "xception"}
    assert study == {(network, group) for network in networks for group in ("augmented", "balanced", "raw", "robust")}


def test_a_run_is_trained_in_runs_and_keeps_its_place_in_the_table_in_planned(tmp_path):
    def change(params):
        params["train"]["planned"]["custom_cnn-raw-0"] = params["train"]["runs"].pop("custom_cnn-raw-0")

    trained, planned = settings.load(), load(tmp_path, change, base=PARAMS)
    assert "custom_cnn-raw-0" in trained.runs
    assert "custom_cnn-raw-0" not in planned.runs
    assert list(trained.table) == list(planned.table)


def test_a_run_s_own_keys_win_over_the_common_ones(tmp_path):
    small = put(8, "train", "runs", "custom_cnn-raw-0", "batch_size")
    runs = load(tmp_path, small, put(2, "train", "runs", "custom_cnn-raw-0", "epochs")).runs
    assert (runs["custom_cnn-raw-0"].training.epochs, runs["custom_cnn-raw-0"].training.batch_size) == (2, 8)
    assert runs["xception-raw-0"].training.batch_size == PARAMS["train"]["common"]["batch_size"]


def test_fine_tuning_has_its_own_rate():
    runs = settings.load().table
    assert runs["densenet121-robust-0"].starting_rate == 1e-4
    assert runs["custom_cnn-robust-0"].starting_rate == 1e-3


# What is refused


@pytest.mark.parametrize(
    ("value", "key", "allowed"),
    [
        (10**12, "ingest.phantom.train", "less than or equal to 1000000"),
        (1, "ingest.phantom.val", "greater than or equal to 2"),
        ("kaggle", "ingest.dataset", "'chest-xray-pneumonia' or 'phantom'"),
        (0, "validate.min_side", "greater than or equal to 1"),
        (0, "validate.max_pixels", "greater than or equal to 1"),
        (-0.1, "validate.max_quarantined", "greater than or equal to 0"),
        (1.0, "validate.max_quarantined", "less than 1"),
        ([1.0], "validate.class_ratio", "at least 2 items, not 1"),
        ([1.0, 2.0, 3.0], "validate.class_ratio", "at most 2 items, not 3"),
        ([4, 1], "validate.class_ratio", "the least and the most, in this order"),
        ("fatal", "validate.criteria.schema", "'error' or 'warning'"),
        (0, "explore.samples", "greater than or equal to 1"),
        (2**32, "explore.seed", "less than or equal to 4294967295"),
        (2048, "preprocess.image_size", "less than or equal to 1024"),
        (100, "groups.validation_percent", "less than or equal to 99"),
        (-1, "groups.seed", "greater than or equal to 0"),
        ("", "groups.salt", "at least 1 character"),
        ({}, "groups.sets", "at least 1 item"),
        (0, "train.common.epochs", "greater than or equal to 1"),
        (-0.1, "train.common.learning_rate", "greater than 0"),
        (1.0, "train.common.plateau_factor", "less than 1"),
        (0, "train.common.plateau_patience", "greater than or equal to 1"),
        (-0.1, "train.common.min_learning_rate", "greater than or equal to 0"),
        (2**32, "train.runs.custom_cnn-raw-0.seed", "less than or equal to 4294967295"),
        ({}, "train.runs", "at least 1 item"),
        (1.0, "evaluate.threshold", "less than 1"),
        (0, "evaluate.resamples", "greater than or equal to 20"),
        (0, "evaluate.sensitive", "greater than 0"),
        (1.5, "evaluate.prevalence", "less than 1"),
        (math.inf, "evaluate.specific", "a finite number"),
        (0, "compare.release.max_megabytes", "greater than or equal to 0.001"),
        (2**32 - 1, "explain.seed", "less than or equal to"),
        ([], "explain.layers.xception", "at least 1 item"),
        (0, "explain.hottest", "greater than 0"),
        (1.5, "explain.hottest", "less than 1"),
        (0, "explain.shuffles", "greater than or equal to 1"),
        (2, "explain.cascade.steps", "greater than or equal to 3"),
        (0, "explain.cascade.draws", "greater than or equal to 1"),
        (0, "explain.cascade.pictures", "greater than or equal to 1"),
        ([], "explain.borders", "at least 1 item"),
        ([0.1, 0.5], "explain.borders[1]", "less than 0.5"),
        ([], "package.changelog", "at least 1 item"),
        ([" "], "package.changelog[0]", "one line of text"),
        (["a\nb"], "package.changelog[0]", "one line of text"),
        (1, "gate.folds", "greater than or equal to 2"),
        (0, "gate.min_patients", "greater than or equal to 1"),
        (-0.01, "gate.auc_margin", "greater than or equal to 0"),
        (math.nan, "gate.log_loss_margin", "a finite number"),
        (1, "gate.stress.min_sensitivity", "less than 1"),
        ("", "gate.extra.site.folder", "at least 1 character"),
        (-0.01, "metrics_gate.log_loss", "greater than or equal to 0"),
        (0, "serve.workers", "greater than or equal to 1"),
        (-5, "serve.max_pixels", "greater than or equal to 1"),
        (0, "serve.max_megabytes", "greater than or equal to 0.001"),
        (1, "serve.prevalence", "less than 1"),
        ("block", "serve.out_of_distribution", "'refuse' or 'warn'"),
        (9, "serve.drift_window", "greater than or equal to 10"),
        (True, "serve.threads", "a valid integer"),
        (2.0, "serve.threads", "a valid integer"),
        ("2", "serve.threads", "a valid integer"),
        (True, "gate.auc_margin", "a valid number"),
        (1, "groups.sets.raw.balanced", "a valid boolean"),
    ],
)
def test_a_value_is_named_with_its_key_and_what_is_allowed(folder, value, key, allowed):
    *path, last = key.split("[")[0].split(".")
    said = refused(folder, put(value, *path, last))
    shown = value[int(key[-2])] if "[" in key else value
    assert said.startswith(f"{key}: {shown!r} must ")
    assert allowed in said


@pytest.mark.parametrize(
    ("name", "says"),
    [
        *((name, "at most 100 characters of a-z") for name in ("a/b", "a.b", "a b", "", "../a", "Raw", "a\nb", "a" * 101)),
        ("validation", "must be another name"),
    ],
)  # fmt: skip
def test_what_becomes_a_file_has_a_plain_name(folder, name, says):
    said = refused(folder, put({"balanced": True}, "groups", "sets", name))
    assert said.startswith(f"groups.sets: {name!r}"[:40])
    assert says in said
    if name != "validation":
        extra = SMALL["gate"]["extra"]["site"]
        assert refused(folder, put(extra, "gate", "extra", name)).startswith(f"gate.extra: {name!r}"[:40])


RUNS = ("train", "runs")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (delete("preprocess", "image_size"), "preprocess: key 'image_size' is missing"),
        (delete("train"), "top level: key 'train' is missing"),
        (delete("train", "common"), "train: key 'common' is missing"),
        (delete(*RUNS, "xception-raw-0", "augmentation"), "train.runs.xception-raw-0: key 'augmentation' is missing"),
        (put(1, "train", "common", "epoch"), "train.common: unknown key 'epoch'; did you mean 'epochs'?"),
        (put(1, *RUNS, "xception-raw-0", "epoch"), "xception-raw-0: unknown key 'epoch'; did you mean 'epochs'?"),
        (put({}, "train", "plan"), "train: unknown key 'plan'; did you mean 'planned'?"),
        (put({}, "server"), "top level: unknown key 'server'; did you mean 'serve'?"),
        (put("many", "train", "common", "epochs"), "train.common.epochs: 'many' must be a valid integer"),
        (put(RUN | {"network": "xceptoin"}, *RUNS, "a"), "train.runs.a.network: 'xceptoin' is not there; did you mean"),
        (put(RUN | {"group": "rwa"}, *RUNS, "a"), "train.runs.a.group: 'rwa' is not in groups.sets; did you mean 'raw'?"),
        (put(RUN | {"augmentation": "noisy"}, *RUNS, "a"), "train.runs.a.augmentation: 'noisy' is not there; known: geom"),
        (put(RUN | {"network": "custom_cnn", "weights": "imagenet"}, *RUNS, "a"), "has no ImageNet weights; set weights"),
        (put(RUN, *RUNS, "xception.raw"), "train.runs.xception.raw: a run's name is of a-z, 0-9, '_' and '-'"),
        (put(RUN, *RUNS, "../xception"), "train.runs.../xception: a run's name is of"),
        (put(RUN, *RUNS, "a" * 101), "the name of a run must have at most 100 characters"),
        (put(RUN, *RUNS, "baseline"), "train.runs.baseline: 'baseline' is the name of the baseline, which is no network"),
        (put(RUN, "train", "planned", "baseline"), "train.planned.baseline: 'baseline' is the name of the baseline"),
        (put(RUN, "train", "planned", "xception-raw-0"), "train.planned.xception-raw-0: is in train.runs as well"),
        (put([RUN], *RUNS), "train.runs: [{"),
        (put(["vgg16"], *RUNS, "custom_cnn-raw-0", "network"), "train.runs.custom_cnn-raw-0.network: ['vgg16'] must be a"),
        (put({}, "train", "networks"), "train.networks: gone since 0.2"),
        (put({}, "train", "groups"), "train.groups: gone since 0.2; each run names its own, and `augmentation`"),
        (put(93, "preprocess", "image_size"), "preprocess.image_size: 93 must be at least 94, for custom_cnn"),
        (put(20_000, "validate", "min_side"), "validate.min_side: 20000 must be at most the root of max_pixels, 50000000"),
        (put(1, "serve", "max_held_megabytes"), "serve.max_held_megabytes: 1.0 must be at least max_megabytes, 48.0"),
        (put({"vgg19": ["a"]}, "explain", "layers"), "explain.layers: 'vgg19' is no network of train.runs or train.planned"),
        (put([0.001], "explain", "borders"), "explain.borders: 0.001 of 128 pixels must leave a frame and a middle"),
        (put(1e-5, "explain", "hottest"), "explain.hottest: 1e-05 of 128 x 128 pixels must be at least one pixel"),
        (
            put([{"network": "vgg61", "weights": "imagenet"}], "compare", "release", "exclude"),
            "compare.release.exclude[0].network: 'vgg61' is no network; did you mean 'vgg16'?",
        ),
        (put("x" * 500, "serve", "out_of_distribution"), "xxx... must be 'refuse' or 'warn'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_in_one_line(folder, change, says):
    assert says in refused(folder, change)


JUNK = (math.inf, math.nan, -1, datetime.date(2022, 1, 1), b"\0", [[math.inf]], {"junk": [math.inf]})


@examples(max_examples=150, deadline=None)
@given(st.sampled_from(PLACES), st.sampled_from(JUNK))
@example(("train", "planned"), -1)
@example(("gate", "extra"), {"junk": [math.inf]})
def test_any_key_replaced_by_junk_is_one_line_that_names_it(folder, place, junk):
    name = [key for key in place if isinstance(key, str)][-1]
    assert name in refused(folder, put(junk, *place)).split(" must ")[0]


def test_any_key_that_is_missing_is_named(folder):
    for place in PLACES:
        if isinstance(place[-1], str) and ".".join(map(str, place[:-1])) not in FREE and place[-1] != "epochs":
            assert f"key {place[-1]!r} is missing" in refused(folder, delete(*place)), place


def test_any_unknown_key_is_named_with_the_nearest_one(folder):
    for place in [(), *PLACES]:
        section = at(SMALL, place)
        if isinstance(section, dict) and ".".join(map(str, place)) not in FREE:
            nearest = list(section)[-1]
            said = refused(folder, put(1, *place, f"{nearest}x"))
            assert f"unknown key '{nearest}x'; did you mean {nearest!r}?" in said, place


# Any model


def kinds(kind: Any):
    """The sections that a type holds, itself included."""
    if isinstance(kind, type) and issubclass(kind, Section):
        yield kind
        for field in kind.model_fields.values():
            yield from kinds(field.annotation)
    for part in get_args(kind):
        yield from kinds(part)


def limit(rules: tuple, *names: str) -> Any:
    return next((getattr(rule, name) for rule in rules for name in names if hasattr(rule, name)), None)


def values(kind: Any, rules: tuple = ()) -> st.SearchStrategy:
    """What a field of this type and these rules may hold; rules that are functions are left to the model."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner = [rule for part in parts[1:] for rule in (*getattr(part, "metadata", ()), part)]
        return values(parts[0], (*inner, *rules))
    if NoneType in parts:
        return st.none() | values(parts[0], rules)
    if isinstance(kind, type) and issubclass(kind, Section):
        return st.fixed_dictionaries(
            {
                field.alias or name: values(field.annotation, (*field.metadata,))
                for name, field in kind.model_fields.items()
            }
        )
    if origin is Literal:
        return st.sampled_from(parts)
    if kind in (int, float):
        low, high = limit(rules, "ge", "gt"), limit(rules, "le", "lt")
        return st.integers(low, high) if kind is int else st.floats(low, high, allow_nan=False, allow_infinity=False)
    if kind is bool:
        return st.booleans()
    if kind is str:
        return (
            st.from_regex(r"\A[a-z0-9]{1,9}\Z") if any(hasattr(rule, "func") for rule in rules) else st.text(min_size=1)
        )
    least, most = limit(rules, "min_length") or 0, limit(rules, "max_length") or 3
    if origin is list:
        drawn = st.lists(values(parts[0]), min_size=least, max_size=most)
        return drawn.map(sorted) if any(hasattr(rule, "func") for rule in rules) else drawn
    return st.dictionaries(values(parts[0]), values(parts[1]), min_size=least, max_size=most)


KINDS = sorted({*kinds(settings.Settings)} - {settings.Settings}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", KINDS)
@examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data())
def test_a_section_written_and_read_again_is_equal(kind, data):
    try:
        drawn = data.draw(values(kind))
        if kind is settings.Serve:  # its limits hold each other; see the tests of the service's settings
            drawn |= {
                "max_pixels": 1000,
                "max_metadata_megabytes": 0.5,
                "max_megabytes": 1.0,
                "max_held_megabytes": 2.0,
                "hosts": ["cxr.example", "::1"],
                "origins": ["https://pacs.example"],
                "proxies": ["10.0.0.0/8"],
            }
        section = kind.model_validate(drawn)
    except ValidationError:  # a bound that is excluded, or a rule about two keys
        assume(False)
    text = yaml.safe_dump(section.model_dump(by_alias=True), sort_keys=False)
    assert parse(kind, load_yaml(text, "text"), "") == section


def test_the_committed_settings_written_and_read_again_are_equal():
    options = settings.load()
    text = yaml.safe_dump(options.model_dump(by_alias=True))
    assert settings.Settings.model_validate(load_yaml(text, "text")) == options


def test_settings_cannot_be_changed_by_the_way():
    with pytest.raises(ValidationError):
        settings.load().gate.folds = 2


# The file


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train: [unclosed", "params.yaml is no valid YAML"),
        ("explore: {samples: 1, samples: 2}", "params.yaml is no valid YAML: the key 'samples' stands twice"),
        ("explore: 2022-13-45", "params.yaml is no valid YAML: month must be in 1..12"),
        ("[" * 2000, "params.yaml is no valid YAML"),
        ("- a", "params.yaml: expected a mapping of sections"),
        ("", "params.yaml: expected a mapping of sections"),
        ("1: a", "params.yaml: top level: unknown key 1; known: ingest, validate"),
    ],
)
def test_what_is_no_mapping_of_sections_is_one_line(tmp_path, text, says):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ProjectError, match=re.escape(says)) as error:
        settings.load(tmp_path / "params.yaml")
    assert str(error.value).isprintable()


def test_a_file_that_is_missing_or_no_text_is_one_line(tmp_path):
    with pytest.raises(ProjectError, match=r"params.yaml is missing"):
        settings.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes(b"explore: \xff")
    with pytest.raises(ProjectError, match=r"params.yaml is no valid YAML: 'utf-8' codec"):
        settings.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("command", ["commands.repro --check", "commands.study", "stages.preprocess"])
def test_no_command_begins_with_an_impossible_setting(tmp_path, command):
    """In a folder that holds nothing else: whatever a command did before, it would fail at."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(SMALL | {"gate": SMALL["gate"] | {"folds": 0}}))
    module, *arguments = command.split()
    done = subprocess.run(
        [sys.executable, "-m", f"pipeline.{module}", *arguments],
        cwd=paths.ROOT, env={**os.environ, "PIPELINE_ROOT": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(": params.yaml: gate.folds: 0 must be greater than or equal to 2")
    assert "Traceback" not in done.stderr


def test_an_unknown_level_of_the_log_is_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.stages.preprocess"],
        cwd=paths.ROOT, env={**os.environ, "LOG_LEVEL": "loud"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith("preprocess: LOG_LEVEL: 'LOUD' must be one of CRITICAL, ")


# Old names


def old_style(old: str, new: str) -> dict[str, Any]:
    """Settings with one key under its old name."""
    star = {"train.runs": "xception-raw-0", "train.planned": "xception-raw-7", "gate.extra": "site"}
    name = next((run for table, run in star.items() if old.startswith(table)), "")
    params = copy.deepcopy(SMALL)
    keys, target = ([name if key == "*" else key for key in path.split(".")] for path in (old, new))
    *holders, last = target
    value = at(params, holders).pop(last, 1e-7)
    if "gate.floors" in old and not at(params, holders):
        del params["gate"][target[1]]
    place = params
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    place[keys[-1]] = value
    return params


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_works_and_one_line_says_the_new_one(tmp_path, caplog, old, new):
    warn.cache_clear()
    params = old_style(old, new)
    with caplog.at_level(logging.WARNING):
        loaded = load(tmp_path, base=params)
        settings.load(tmp_path / "params.yaml")
    (line,) = caplog.messages
    assert line.startswith("params.yaml: ")
    assert f"{old.split('*')[-1]} is now " in line and new.split("*")[-1] in line
    run = (
        loaded.runs["xception-raw-0"].training.min_learning_rate,
        loaded.planned["xception-raw-7"].training.min_learning_rate,
    )
    assert loaded == load(tmp_path) or 1e-7 in run


def test_old_and_new_name_together_are_refused(folder):
    said = refused(folder, put("warn", "serve", "strangers"))
    assert said == "serve.strangers is now serve.out_of_distribution, and both are set: keep the new one"


def test_a_training_reads_the_old_name_as_well(tmp_path):
    """`train` reads its own entry alone: what `make repro` lets pass must not end there."""
    params = old_style("train.common.plateau_floor", "train.common.min_learning_rate")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    script = (
        "from pipeline.learning.settings import load_run; print(load_run('xception-raw-0').training.min_learning_rate)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=paths.ROOT, env={**os.environ, "PIPELINE_ROOT": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) == PARAMS["train"]["common"]["min_learning_rate"]


def test_what_is_laid_over_may_use_old_names(tmp_path):
    overlay = {"gate": {"floors": {"stress": {"sensitivity": 0.1}}}, "serve": {"strangers": "warn"}}
    merged = merge(PARAMS, with_new_names(overlay, "overlay"))
    loaded = load(tmp_path, base=merged)
    assert (loaded.gate.stress.min_sensitivity, loaded.gate.stress.min_specificity) == (0.1, 0.6)
    assert loaded.serve.out_of_distribution == "warn"
    assert overlay["serve"] == {"strangers": "warn"}


# Overlays

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
    runs = {"one": {"network": "custom_cnn", "group": "raw", "seed": 0, "weights": "random"}}
    assert merge(PARAMS, {"train": {"runs": runs}})["train"]["runs"] == runs
