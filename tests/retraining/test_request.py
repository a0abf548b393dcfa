"""What a retraining was asked to do."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline import settings
from pipeline.errors import ProjectError
from pipeline.retraining.request import Request, from_environment, lay_over

PARAMS = yaml.safe_load((Path(__file__).resolve().parents[2] / "params.yaml").read_text())


def names(request: Request) -> list[str]:
    return list(lay_over(PARAMS, request)["train"]["runs"])


def test_nothing_asked_is_params_as_committed() -> None:
    assert lay_over(PARAMS, Request(run_id="r")) == PARAMS
    assert not Request(run_id="r").changes_settings


def test_runs_networks_and_groups_choose_lines_of_the_table() -> None:
    assert names(Request(run_id="r", runs=["xception-raw-0"])) == ["xception-raw-0"]
    chosen = names(Request(run_id="r", networks=["custom_cnn", "vgg16"], groups=["raw"]))
    assert chosen
    assert all(name.split("-")[:2] in (["custom_cnn", "raw"], ["vgg16", "raw"]) for name in chosen)
    assert {"custom_cnn-raw-0", "vgg16-raw-0"} <= set(chosen)


def test_epochs_count_for_every_run(tmp_path: Path) -> None:
    asked = lay_over(PARAMS, Request(run_id="r", networks=["custom_cnn"], epochs=2))
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(asked))
    runs = settings.load(file).runs
    table = PARAMS["train"]["planned"] | PARAMS["train"]["runs"]
    assert any("epochs" in table[name] for name in runs), "no run has epochs of its own: test nothing"
    assert {run.training.epochs for run in runs.values()} == {2}


def test_the_committed_params_are_left_alone() -> None:
    before = yaml.safe_dump(PARAMS)
    lay_over(PARAMS, Request(run_id="r", epochs=1, settings={"ingest": {"dataset": "phantom"}}))
    assert yaml.safe_dump(PARAMS) == before


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"networks": ["resnet5"]}, "unknown network 'resnet5' in the run's parameters; did you mean 'resnet50'?"),
        ({"groups": ["blanced"]}, "unknown group 'blanced' in the run's parameters; did you mean 'balanced'?"),
        ({"runs": ["xception-raw-9"]}, "unknown run 'xception-raw-9'"),
        ({"runs": ["xception-raw-0"], "groups": ["balanced"]}, "no line of train.runs"),
    ],
)
def test_what_is_unknown_is_named(asked: dict[str, list[str]], said: str) -> None:
    with pytest.raises(ProjectError, match=re.escape(said)):
        lay_over(PARAMS, Request(run_id="r", **asked))


def test_the_environment_of_a_task_is_read_strictly() -> None:
    told = {"AIRFLOW_CTX_DAG_RUN_ID": "manual", "RETRAIN_PARAMS": '{"epochs": 3}', "RETRAIN_COMMIT": "abc"}
    assert from_environment(told) == Request(run_id="manual", commit="abc", epochs=3)
    with pytest.raises(ProjectError, match="AIRFLOW_CTX_DAG_RUN_ID is not set"):
        from_environment({})
    with pytest.raises(
        ProjectError, match="RETRAIN_PARAMS: deliver: 'moon' must be 'workspace', 'branch' or 'checkout'"
    ):
        from_environment(told | {"RETRAIN_PARAMS": '{"deliver": "moon"}'})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("{", "RETRAIN_PARAMS is no valid JSON"),
        ("[" * 5000, "RETRAIN_PARAMS is no valid JSON"),
        ("[1]", "RETRAIN_PARAMS: top level: [1] must be a mapping"),
        ('{"epoch": 3}', "RETRAIN_PARAMS: top level: unknown key 'epoch'; did you mean 'epochs'?"),
        ('{"epochs": 0}', "RETRAIN_PARAMS: epochs: 0 must be greater than or equal to 1"),
        ('{"epochs": true}', "RETRAIN_PARAMS: epochs: True must be a valid integer"),
        ('{"runs": "vgg16-raw-0"}', "RETRAIN_PARAMS: runs: 'vgg16-raw-0' must be a valid list"),
        ('{"force": 1}', "RETRAIN_PARAMS: force: 1 must be a valid boolean"),
        ('{"settings": []}', "RETRAIN_PARAMS: settings: [] must be a mapping"),
        ('{"run_id": "other"}', "RETRAIN_PARAMS: top level: unknown key 'run_id'"),
        (
            '{"settings": {"serve": {"strangers": "warn", "out_of_distribution": "warn"}}}',
            "RETRAIN_PARAMS: settings: serve.strangers is now serve.out_of_distribution, and both are set",
        ),
    ],
)
def test_parameters_that_cannot_be_are_one_line(asked: str, said: str) -> None:
    with pytest.raises(ProjectError, match=re.escape(said)) as error:
        from_environment({"AIRFLOW_CTX_DAG_RUN_ID": "manual", "RETRAIN_PARAMS": asked})
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("settings_laid_over", "said"),
    [
        ({"train": 5}, "train: 5 must be a mapping"),
        ({"train": {"runs": []}}, "train.runs: [] must be a mapping"),
        ({"train": {"runs": {"a": {"group": "raw"}}}}, "train.runs.a: key 'network' is missing"),
        ({"groups": None}, "groups: None must be a mapping"),
    ],
)
def test_settings_that_leave_no_table_of_runs_are_one_line(settings_laid_over: dict[str, Any], said: str) -> None:
    with pytest.raises(ProjectError, match=re.escape(f"params.yaml with the run's settings: {said}")):
        lay_over(PARAMS, Request(run_id="r", settings=settings_laid_over))


OUTSIDE = ("/tmp/x", "../x", "a/../../x", "~/x", "~root/x", "a\0b")


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_leads_nowhere_but_into_the_workspace(path: str) -> None:
    extra = {"folder": path, "min_sensitivity": 0.5, "min_specificity": 0.5}
    for asked, key in (
        ({"serve": {"log": path}}, "serve.log"),
        ({"gate": {"extra": {"a": extra}}}, "gate.extra.a.folder"),
        ({"gate": {"extra": {"a.b": extra}}}, "gate.extra.a.b.folder"),
    ):
        with pytest.raises(ProjectError, match=re.escape(f"settings: {key}: {path!r} leads out")):
            lay_over(PARAMS, Request(run_id="r", settings=asked))
    assert lay_over(PARAMS, Request(run_id="r", settings={"serve": {"log": "logs/answers.sqlite"}}))


NAMES = ("../x", "/x", "a/b", "..", ".x", "", "A", "a b", "x" * 101, "a\n", "a;b", "$(a)", "${train.runs}", "-a")
LINE = {"network": "vgg16", "group": "raw", "augmentation": "none", "seed": 7, "weights": "random"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["group", "run", "extra", "group of a run", "network", "augmentation", "layers"])
def test_a_name_that_could_be_a_path_is_refused_before_anything_is_written(
    name: str, place: str, tmp_path: Path
) -> None:
    extra = {"folder": "a", "min_sensitivity": 0.5, "min_specificity": 0.5}
    asked = {
        "group": {"groups": {"sets": {name: {"balanced": True}}}},
        "run": {"train": {"runs": {name: LINE}}},
        "extra": {"gate": {"extra": {name: extra}}},
        "group of a run": {"train": {"runs": {"a": LINE | {"group": name}}}},
        "network": {"train": {"runs": {"a": LINE | {"network": name}}}},
        "augmentation": {"train": {"runs": {"a": LINE | {"augmentation": name}}}},
        "layers": {"explain": {"layers": {name: ["conv1"]}}},
    }[place]
    refused_by_settings(asked, tmp_path)


@pytest.mark.parametrize("number", [-1, 10**12, 1e300, float("nan"), float("inf"), "1", True, None, [1]])
@pytest.mark.parametrize(
    "key",
    ["ingest.phantom.train", "validate.min_side", "explore.samples", "preprocess.image_size", "groups.validation_percent",
     "train.common.epochs", "train.common.batch_size", "evaluate.resamples", "explain.cascade.pictures", "gate.folds",
     "compare.release.max_megabytes", "serve.workers", "serve.max_pixels", "serve.patience_seconds", "serve.drift_window"],
)  # fmt: skip
def test_a_number_out_of_its_range_is_refused_before_anything_is_written(key: str, number: Any, tmp_path: Path) -> None:
    asked: Any = number
    for part in reversed(key.split(".")):
        asked = {part: asked}
    refused_by_settings(asked, tmp_path)


def refused_by_settings(asked: dict[str, Any], folder: Path) -> None:
    """As the task `plan` does it: the settings are laid over and read before any stage runs."""
    with pytest.raises(ProjectError):
        laid = lay_over(PARAMS, Request(run_id="r", settings=asked))
        (folder / "params.yaml").write_text(yaml.safe_dump(laid))
        settings.load(folder / "params.yaml")


def test_settings_may_use_old_names() -> None:
    asked = '{"settings": {"gate": {"floors": {"validation": {"sensitivity": 0.5}}}}}'
    request = from_environment({"AIRFLOW_CTX_DAG_RUN_ID": "manual", "RETRAIN_PARAMS": asked})
    assert lay_over(PARAMS, request)["gate"]["validation"] == PARAMS["gate"]["validation"] | {"min_sensitivity": 0.5}


def test_what_does_not_go_together_is_refused() -> None:
    told = {"AIRFLOW_CTX_DAG_RUN_ID": "manual", "RETRAIN_PARAMS": '{"force": true}'}
    assert from_environment(told).force
    with pytest.raises(ProjectError, match="RETRAIN_REMOTE is set"):
        from_environment(told | {"RETRAIN_REMOTE": "s3://bucket/folder"})
    assert (
        lay_over(PARAMS, Request(run_id="r", epochs=2, deliver="branch"))["train"]["runs"].keys()
        == PARAMS["train"]["runs"].keys()
    )
    line = {"network": "vgg16", "group": "raw", "augmentation": "none", "seed": 7, "weights": "random"}
    others = {"train": {"runs": {"vgg16-raw-7": line}}}  # none of the committed lines
    for part in ({"networks": ["custom_cnn"]}, {"settings": others}):
        with pytest.raises(ProjectError, match="a branch takes all lines of train.runs"):
            lay_over(PARAMS, Request(run_id="r", deliver="branch", **part))


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80))
def test_a_workspace_is_a_plain_name_and_belongs_to_one_run(left: str, right: str) -> None:
    assert re.fullmatch(r"retrain-[A-Za-z0-9-]+", Request(run_id=left).workspace)
    assert (Request(run_id=left).workspace == Request(run_id=right).workspace) == (left == right)
