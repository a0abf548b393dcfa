"""The section `serve` and the variables that override it."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.old_names import warn
from pipeline.serving.settings import NO_SETTINGS, PREFIX, Serve, load_serve

WRITTEN = load_serve({})


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """params.yaml with no other section."""
    path = tmp_path_factory.mktemp("serve") / "params.yaml"
    path.write_text(yaml.safe_dump({"serve": WRITTEN.model_dump()}))
    return path


def refused(environ: dict[str, str]) -> str:
    with pytest.raises(ProjectError) as error:
        load_serve(environ)
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("SERVE_WORKERS", "7", "workers", 7),
        ("SERVE_MAX_MEGABYTES", "64", "max_megabytes", 64.0),
        ("SERVE_PREVALENCE", "0.25", "prevalence", 0.25),
        ("SERVE_PREVALENCE", "null", "prevalence", None),
        ("SERVE_LOG", "answers.sqlite", "log", "answers.sqlite"),
        ("SERVE_LOG", "", "log", None),
        ("SERVE_OUT_OF_DISTRIBUTION", "warn", "out_of_distribution", "warn"),
    ],
)
def test_a_variable_wins_over_the_file_and_nothing_else_changes(variable, text, key, value):
    assert load_serve({variable: text, "PATH": "/bin"}) == WRITTEN.model_copy(update={key: value})


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("SERVE_WORKERS", "0", "SERVE_WORKERS: workers: 0 must be greater than or equal to 1"),
        ("SERVE_WORKERS", "two", "SERVE_WORKERS: workers: 'two' must be a valid integer"),
        ("SERVE_WORKERS", "", "SERVE_WORKERS: workers: None must be a valid integer"),
        ("SERVE_WORKERS", "true", "SERVE_WORKERS: workers: True must be a valid integer"),
        ("SERVE_MAX_PIXELS", "-5", "SERVE_MAX_PIXELS: max_pixels: -5 must be greater than or equal to 1"),
        ("SERVE_PATIENCE_SECONDS", ".inf", "SERVE_PATIENCE_SECONDS: patience_seconds: inf must be a finite number"),
        ("SERVE_PREVALENCE", "1", "SERVE_PREVALENCE: prevalence: 1 must be less than 1"),
        ("SERVE_LOG", "[a]", "SERVE_LOG: log: ['a'] must be a valid string"),
        ("SERVE_LOG", "[a", "SERVE_LOG is no valid YAML: while parsing"),
        ("SERVE_LOG", "{a: 1, a: 2}", "SERVE_LOG is no valid YAML: the key 'a' stands twice"),
        ("SERVE_STRANGERS", "maybe", "SERVE_STRANGERS: out_of_distribution: 'maybe' must be 'refuse' or 'warn'"),
        (
            "SERVE_MAX_HELD_MEGABYTES",
            "1",
            "SERVE_MAX_HELD_MEGABYTES: max_held_megabytes: 1.0 must be at least max_mega",
        ),
    ],
)
def test_a_variable_that_cannot_be_is_one_line_that_names_it(variable, text, says):
    assert refused({variable: text}).startswith(says)


@given(st.sampled_from(sorted(Serve.model_fields)), st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_whatever_a_variable_holds_it_is_a_setting_or_one_line(alone, key, text):
    variable = f"{PREFIX}{key.upper()}"
    try:
        load_serve({variable: text}, alone)
    except ProjectError as error:
        assert str(error).startswith(variable)
        assert "\n" not in str(error)


def test_two_variables_are_held_against_each_other_and_not_against_the_file():
    larger = {"SERVE_MAX_MEGABYTES": "500", "SERVE_MAX_HELD_MEGABYTES": "600"}
    assert (load_serve(larger).max_megabytes, load_serve(larger).max_held_megabytes) == (500, 600)
    said = refused(larger | {"SERVE_MAX_HELD_MEGABYTES": "400"})
    assert said.startswith("SERVE_MAX_MEGABYTES, SERVE_MAX_HELD_MEGABYTES: max_held_megabytes: 400.0 must be at least")


def test_the_old_name_works_and_one_line_says_the_new_one(caplog):
    warn.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert load_serve({"SERVE_STRANGERS": "warn"}).out_of_distribution == "warn"
    (line,) = caplog.messages
    assert "SERVE_STRANGERS is now SERVE_OUT_OF_DISTRIBUTION" in line
    both = {"SERVE_STRANGERS": "warn", "SERVE_OUT_OF_DISTRIBUTION": "refuse"}
    assert refused(both) == "SERVE_STRANGERS is now SERVE_OUT_OF_DISTRIBUTION, and both are set: keep the new one"


def test_a_variable_that_means_nothing_is_told_with_the_nearest_one(caplog):
    with caplog.at_level(logging.WARNING):
        assert load_serve({"SERVE_WROKERS": "9", "SERVE_TOKEN": "secret", "SERVE_METRICS_FOLDER": "/tmp"}) == WRITTEN
    (line,) = caplog.messages
    assert line == "SERVE_WROKERS is no setting of the service and is not read; the nearest is SERVE_WORKERS"


def test_limits_that_contradict_each_other_are_named():
    said = refused({"SERVE_MAX_MEGABYTES": "16"})
    assert said.startswith("SERVE_MAX_MEGABYTES: max_megabytes: 16 must be at least 46.1, which max_pixels at 16 bits")
    assert load_serve({"SERVE_MAX_MEGABYTES": "16", "SERVE_MAX_PIXELS": "4000000"}).max_megabytes == 16


def test_every_variable_that_this_project_names_is_known():
    known = {*NO_SETTINGS, "SERVE_STRANGERS", *(f"{PREFIX}{key.upper()}" for key in Serve.model_fields)}
    docker = (file for file in (paths.ROOT / "docker").rglob("*") if file.is_file())
    files = [*docker, *paths.ROOT.glob("docs/*.md"), *paths.ROOT.glob("pipeline/**/*.py")]
    named = {name for file in files for name in re.findall(r"\bSERVE_[A-Z_]*[A-Z]\b", file.read_text())}
    assert NO_SETTINGS[0] in named
    assert named <= known


def test_a_wrong_setting_in_the_file_is_named_there_and_another_section_is_not_looked_at(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"serve": WRITTEN.model_dump() | {"workers": 0}}))
    with pytest.raises(ProjectError, match=r"^params.yaml: serve.workers: 0 must be greater than or equal to 1$"):
        load_serve({"SERVE_WORKERS": "1"}, path)
    path.write_text(yaml.safe_dump({"serve": WRITTEN.model_dump(), "gate": {"folds": 0}}))
    assert load_serve({}, path) == WRITTEN
    path.write_text("gate: {}")
    with pytest.raises(ProjectError, match=r"^params.yaml: serve: None must be a mapping$"):
        load_serve({}, path)


def test_the_server_ends_with_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", "pipeline.serving.service:Pneumonia", "--port", "0"],
        cwd=paths.ROOT, env={**os.environ, "SERVE_WORKERS": "0"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["serve: SERVE_WORKERS: workers: 0 must be greater than or equal to 1"]


def test_what_the_service_imports_brings_in_no_training_and_no_keras() -> None:
    script = "import sys, pipeline.serving.service; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=paths.ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    modules = set(done.stdout.split())
    assert "pipeline.serving.settings" in modules
    assert not modules & {"pipeline.learning", "pipeline.settings", "keras", "tensorflow", "pandas"}
