"""What dvc.yaml and params.yaml promise to those who know DVC, read without running anything."""

import difflib
import shutil

import pytest
import yaml
from dvc.exceptions import InvalidArgumentError
from dvc.utils.hydra import apply_overrides

from pipeline import settings
from tests.dvc_use.graph import ROOT, outs

# Each output, and whether it may hold an image or an array of images (True: it must never be pushed by `dvc push`).
MAY_HOLD_IMAGES = {
    "data/raw": True,
    "data/dataset.json": False,
    "data/manifest": False,  # a table of files, their sizes and digests
    "reports/figures/samples_normal.png": True,
    "reports/figures/samples_pneumonia.png": True,
    "data/arrays": True,
    "data/groups": False,  # row numbers
    "reports/figures/augmentation.png": True,
    "models/runs/${key}": False,  # weights
    "models/candidate": True,  # the guard's arrays beside the network
    "reports/explain": True,
    "reports/index.html": True,
}


def stages():
    entries = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: stage.get("do", stage) for name, stage in entries.items()}


def test_every_output_that_may_hold_an_image_stays_on_this_machine():
    """Another output needs a line above: what it may hold is a decision."""
    cached = {
        out: options
        for stage in stages().values()
        for out, options in outs(stage).items()
        if options.get("cache", True)
    }
    assert {out: options.get("push") is False for out, options in cached.items()} == MAY_HOLD_IMAGES


def test_what_a_person_writes_beside_the_results_makes_nothing_stale():
    """`make evaluate-site`, `make compare-runs` and `make gate` write below metrics/: no stage depends on what they write."""
    for name, stage in stages().items():
        for path in (
            "metrics/site/here.json",
            "metrics/site_runs/here.json",
            "metrics/site_profiles/here.json",
            "metrics/gate.json",
        ):
            assert not [dep for dep in stage["deps"] if path == dep or path.startswith(f"{dep}/")], name


def test_a_setting_of_every_run_is_changed_without_a_plus_and_changes_its_line_alone(tmp_path):
    """What `dvc exp run -S` does to params.yaml: DVC reads it, changes it and writes all of it again."""
    file = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", file)
    before = file.read_text(encoding="utf-8").splitlines()
    names = list(settings.load(file).runs)
    apply_overrides(file, [f"train.runs.{name}.epochs=97" for name in names])
    after = file.read_text(encoding="utf-8").splitlines()
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-" and line[1:].strip()]
    assert [line for line in changed if line[0] == "+"] == ["+       epochs: 97"] * len(names)
    assert all(line.startswith("-       epochs: ") for line in changed if line[0] == "-")
    assert {run.training.epochs for run in settings.load(file).runs.values()} == {97}


@pytest.mark.parametrize("override", ["train.runs.custom_cnn-raw-0.epoch=1", "train.runs.nobody-0.epochs=1"])
def test_a_name_that_is_not_there_is_refused(override, tmp_path):
    file = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", file)
    with pytest.raises(InvalidArgumentError, match="Invalid `--set-param` value"):
        apply_overrides(file, [override])


def test_every_run_names_its_epochs():
    runs = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["train"]["runs"]
    assert [name for name, run in runs.items() if "epochs" not in run] == []
