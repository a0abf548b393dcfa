"""Entries of dvc.lock follow code that does the same, on a bare clone; a content that changed is refused."""

import re

import pytest
import yaml

from pipeline import dvc
from pipeline.commands.carry_lock import carry
from pipeline.errors import ProjectError
from tests.commands.conftest import RUNS, replace

RUN = "custom_cnn-raw-0"
HISTORY = f"predictions/{RUN}/history.csv"


def contents(lock, *kinds):
    """What each stage's entries of these kinds hold: {(stage, path): md5}; code is left out."""
    return {
        (name, entry["path"]): entry["md5"]
        for name, stage in lock.items()
        for kind in kinds
        for entry in stage.get(kind, [])
        if not entry["path"].startswith("pipeline/")
    }


def stale(root):
    """The trainings whose code or settings are not those of dvc.lock."""
    chosen = [name.removeprefix(dvc.TRAIN) for name in dvc.lock(root) if name.startswith(dvc.TRAIN)]
    return set(chosen) - set(dvc.lacking_a_network_alone(chosen, root))


@pytest.fixture
def commented(clone):
    """Every training is stale by a comment; no data and no network is here."""
    file = clone / "pipeline" / "learning" / "training.py"
    file.write_text(file.read_text() + "\n# A remark.\n")
    assert not (clone / "data" / "arrays").exists() and not (clone / "models").exists()
    return clone


def test_every_training_is_carried_over_and_keeps_the_hash_of_every_output(commented):
    before = dvc.lock(commented)
    assert stale(commented) == {*RUNS}
    assert carry(["train"], commented) == [f"{dvc.TRAIN}{name}" for name in RUNS]
    after = dvc.lock(commented)
    assert contents(after, "outs", "deps") == contents(before, "outs", "deps")
    assert list(after) == list(before)
    assert {name: after[name] for name in after if not name.startswith(dvc.TRAIN)} == {
        name: before[name] for name in before if not name.startswith(dvc.TRAIN)
    }
    assert not stale(commented)


def test_an_output_keeps_its_hash_under_a_new_path(clone):
    replace(clone / "dvc.yaml", '"predictions/${key}/history.csv"', '"predictions/${key}/epochs.csv"')
    for file in (clone / "predictions").glob("*/history.csv"):
        file.rename(file.with_name("epochs.csv"))
    before = contents(dvc.lock(clone), "outs")
    carry(["train"], clone)
    renamed = {(name, re.sub(r"history\.csv$", "epochs.csv", path)): md5 for (name, path), md5 in before.items()}
    assert contents(dvc.lock(clone), "outs") == renamed


def test_the_outputs_of_a_stage_cut_in_two_keep_their_hashes(clone):
    file = clone / "dvc.yaml"
    stages = yaml.safe_load(file.read_text())
    outs = stages["stages"]["train"]["do"]["outs"]
    history = next(out for out in outs if "predictions/${key}/history.csv" in out)
    outs.remove(history)
    stages["stages"]["curves"] = {
        "foreach": "${train.runs}",
        "do": {
            "cmd": "true ${key}",
            "deps": ["models/runs/${key}"],
            "outs": [{"predictions/${key}/history.csv": {"cache": False}}],
        },
    }
    file.write_text(yaml.safe_dump(stages, sort_keys=False))
    before = dvc.lock(clone)
    carry(["train", f"curves@{RUN}"], clone)
    after = dvc.lock(clone)
    assert contents(after, "outs")[f"curves@{RUN}", HISTORY] == contents(before, "outs")[f"train@{RUN}", HISTORY]
    network = f"models/runs/{RUN}"
    assert contents(after, "deps")[f"curves@{RUN}", network] == contents(before, "outs")[f"train@{RUN}", network]


def change_an_output(root):
    (root / HISTORY).write_text((root / HISTORY).read_text() + "16,1,1,1,1,1,1\n")


def swap_two_outputs_under_new_paths(root):
    replace(root / "dvc.yaml", '"predictions/${key}/history.csv"', '"predictions/${key}/epochs.csv"')
    for file in (root / "predictions").glob("*/history.csv"):
        file.with_name("epochs.csv").write_text((root / "predictions" / "custom_cnn-raw-1" / "history.csv").read_text())


def put_other_data_there(root):
    (root / "data" / "dataset.json").write_text("{}\n")


def ask_for_a_new_output(root):
    first = 'outs:\n        - "models/runs/${key}"'
    replace(root / "dvc.yaml", first, first.replace("runs", "other") + first.removeprefix("outs:"))


def ask_for_a_new_dependency(root):
    replace(
        root / "dvc.yaml", '- "data/groups/${item.group}.csv"', '- "data/groups/${item.group}.csv"\n        - README.md'
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (change_an_output, f"train@{RUN}: {HISTORY} is not what dvc.lock has"),
        (swap_two_outputs_under_new_paths, f"train@{RUN}: predictions/{RUN}/epochs.csv is not what dvc.lock has"),
        (put_other_data_there, f"train@{RUN}: data/dataset.json is not what dvc.lock has"),
        (ask_for_a_new_output, f"train@{RUN}: neither here nor in dvc.lock: models/other/{RUN}"),
        (ask_for_a_new_dependency, f"train@{RUN}: README.md is not what dvc.lock has"),
    ],
)
def test_what_is_not_the_same_is_refused_and_the_lock_is_left_alone(clone, change, told):
    change(clone)
    before = (clone / "dvc.lock").read_bytes()
    with pytest.raises(ProjectError, match=re.escape(told)):
        carry([f"train@{RUN}"], clone)
    assert (clone / "dvc.lock").read_bytes() == before


def test_an_unknown_stage_is_refused(clone):
    with pytest.raises(ProjectError, match="nonsense"):
        carry(["nonsense"], clone)
