"""`make same-training` refuses what trains otherwise by one bit, and carries dvc.lock over for what does not."""

import shutil
import subprocess
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline import dvc
from pipeline.commands import same_training
from pipeline.commands.same_training import covering, differences
from pipeline.commands.trial import Side, prepare, rate_fell, train_and_resume
from pipeline.errors import ProjectError
from tests.commands.conftest import commit, replace
from tests.commands.test_carry_lock import contents, stale
from tests.retraining_fixture import clean_environment, git
from tests.study_fixture import wait_for

RUN = "custom_cnn-robust-0"
TRAINING = f"{RUN}-float32"
LEARNING = "pipeline/learning"
COMMAND = [sys.executable, "-m", "pipeline.commands.same_training"]


def call(root, *arguments):
    return subprocess.run(
        [*COMMAND, *arguments], cwd=root, env=clean_environment(), capture_output=True, text=True, check=False
    )


# What is refused before anything is trained.


def test_code_that_is_not_committed_is_refused(clone):
    (clone / LEARNING / "networks" / "seventh.py").write_text("# new\n")
    replace(clone / "params.yaml", "batch_size: 32", "batch_size: 16")
    done = call(clone, "HEAD")
    assert done.returncode == 1
    assert done.stderr.startswith("same-training: only what is committed can be compared; commit or put away: ")
    assert done.stderr.endswith(f"params.yaml, {LEARNING}/networks/seventh.py\n")


@pytest.mark.parametrize(
    ("key", "value", "runs"),
    [
        (("runs", "custom_cnn-raw-1", "learning_rate"), 0.002, ["custom_cnn-raw-1"]),
        (("common", "plateau_factor"), 0.5, ["custom_cnn-raw-0", "custom_cnn-raw-1", RUN]),
    ],
)
def test_another_setting_is_refused_and_its_runs_are_named(clone, key, value, runs):
    base = git(clone, "rev-parse", "HEAD").strip()
    params = yaml.safe_load((clone / "params.yaml").read_text())
    place = params["train"]
    for part in key[:-1]:
        place = place[part]
    place[key[-1]] = value
    (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    commit(clone, "another setting")
    before = (clone / "dvc.lock").read_bytes()
    done = call(clone, base)
    assert done.returncode == 1
    told = f"same-training: {len(runs)} of 3 runs differ, and dvc.lock is untouched: {', '.join(runs)}"
    assert done.stderr.splitlines()[-1] == told
    assert f"then {value}" in done.stderr
    assert (clone / "dvc.lock").read_bytes() == before


def test_a_commit_that_is_not_there_is_one_line(clone):
    done = call(clone, "nonsense")
    assert done.returncode == 1
    assert done.stderr.startswith("same-training: git worktree: ") and done.stderr.count("\n") == 1


RUNS = st.dictionaries(
    st.text("abcdef", min_size=1),
    st.fixed_dictionaries({"network": st.sampled_from("NMKLO"), "augmentation": st.sampled_from("ngr")}),
    min_size=1,
)


@given(RUNS)
def test_few_runs_have_every_network_and_every_recipe(runs):
    chosen = covering(runs)
    networks, recipes = ({run[key] for run in runs.values()} for key in ("network", "augmentation"))
    assert {runs[name]["network"] for name in chosen} == networks
    assert {runs[name]["augmentation"] for name in chosen} == recipes
    assert len(set(chosen)) == len(chosen) < len(networks) + len(recipes)


# What is trained: custom_cnn alone.


@pytest.fixture(scope="module")
def base(bare_clone, tmp_path_factory):
    """The code as it is, trained."""
    side = Side("base", shutil.copytree(bare_clone, tmp_path_factory.mktemp("base") / "base"))
    prepare(side, [RUN])
    side.python("-m", "pipeline.stages.train", TRAINING)
    return side


@pytest.fixture
def new(base, tmp_path):
    """The same code and data, to be changed and trained."""
    ignored = shutil.ignore_patterns(TRAINING, ".cache")
    return Side("new", shutil.copytree(base.folder, tmp_path / "new", ignore=ignored))


@pytest.mark.slow  # a training takes half a minute
@pytest.mark.parametrize(
    ("file", "old", "changed"),
    [
        ("training.py", "optimizer.learning_rate = rate", "optimizer.learning_rate = rate * 1.001"),
        ("training.py", "rate * training.plateau_factor", "rate * training.plateau_factor * 1.001"),
        ("augmentation/robust.py", "zoom=0.25", "zoom=0.26"),
        (
            "networks/custom_cnn.py",
            '        x = layers.BatchNormalization(name=f"block{place}_norm")(x)\n'
            '        x = layers.MaxPooling2D(2, name=f"block{place}_pool")(x)\n',
            '        x = layers.MaxPooling2D(2, name=f"block{place}_pool")(x)\n'
            '        x = layers.BatchNormalization(name=f"block{place}_norm")(x)\n',
        ),
    ],
    ids=["learning rate", "plateau factor", "bound of a recipe", "order of two layers"],
)
def test_code_that_trains_otherwise_is_told(base, new, file, old, changed):
    assert rate_fell(base, TRAINING)
    replace(new.folder / LEARNING / file, old, changed)
    new.python("-m", "pipeline.stages.train", TRAINING)
    assert any(told.startswith("weights from ") for told in differences(base, new, TRAINING))


@pytest.mark.slow
def test_a_training_that_begins_anew_after_it_was_killed_is_an_error(new):
    replace(
        new.folder / LEARNING / "training.py", "history, best = _restore(checkpoint, state)", "history, best = [], []"
    )
    with pytest.raises(ProjectError, match=f"new: {TRAINING} began anew after it was killed"):
        train_and_resume(new, TRAINING)


@pytest.mark.slow
def test_missing_weights_of_imagenet_are_an_error_that_says_where_they_are_looked_for(new, tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_WEIGHTS", str(tmp_path))
    params = yaml.safe_load((new.folder / "params.yaml").read_text())
    params["train"]["runs"][TRAINING] |= {"network": "vgg16", "weights": "imagenet"}
    (new.folder / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(ProjectError, match=f"new: {TRAINING}: .*CXR_WEIGHTS has no vgg16_notop.weights.h5"):
        train_and_resume(new, TRAINING)


@pytest.mark.slow  # some minutes: 12 trainings are begun
def test_a_remark_and_a_refactoring_carry_the_lock_over_also_after_a_kill(clone):
    params = yaml.safe_load((clone / "params.yaml").read_text())
    params["train"]["runs"] = {RUN: params["train"]["runs"][RUN]}
    (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    base = commit(clone, "one run")
    replace(clone / LEARNING / "networks" / "custom_cnn.py", "    x = images\n", "    x = images  # A remark.\n")
    replace(
        clone / LEARNING / "training.py",
        "    trainer.optimizer.build(trainer.trainable_variables)\n    return trainer\n",
        "    return _built(trainer)\n\n\ndef _built(trainer):\n"
        "    trainer.optimizer.build(trainer.trainable_variables)\n    return trainer\n",
    )
    commit(clone, "a refactoring")
    before = dvc.lock(clone)
    assert stale(clone) >= {RUN}

    workspace = clone / ".work" / same_training.NAME
    killed = subprocess.Popen([*COMMAND, base], cwd=clone, env=clean_environment(), stderr=subprocess.DEVNULL)
    wait_for((workspace / "new" / "data" / "arrays").exists)
    killed.kill()
    killed.wait()
    done = call(clone, base)

    assert done.returncode == 0, done.stderr
    trained = [line.split()[-2] for line in done.stderr.splitlines() if line.endswith(" equal")]
    assert trained == [f"{RUN}-float32", f"{RUN}-bfloat16", f"{RUN}-own"]
    assert done.stderr.splitlines()[-1].endswith("carried over in dvc.lock, to be committed: 1 of its entries")
    after = dvc.lock(clone)
    assert contents(after, "outs", "deps") == contents(before, "outs", "deps")
    assert after[f"train@{RUN}"] != before[f"train@{RUN}"]
    assert RUN not in stale(clone)
    assert not workspace.exists() and git(clone, "worktree", "list").count("\n") == 1
