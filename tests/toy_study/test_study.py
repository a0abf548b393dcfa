"""`make study`: what runs side by side, what is left out, what a failure and a signal leave."""

import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest
import yaml

from pipeline import dvc, paths
from pipeline.commands import study
from tests import fake_predictions
from tests.retraining_fixture import running
from tests.study_fixture import RUNS, change, digests, environment, wait_for, would_run

LINE = {"network": "custom_cnn", "group": "raw", "augmentation": "none", "seed": 0, "weights": "random", "epochs": 15}
DEAD = "http://127.0.0.1:9"  # no MLflow there
TRAINING = {
    "foreach": "${train.runs}",
    "do": {
        "cmd": "sh train.sh ${key}",
        "deps": ["train.sh"],
        "outs": ["models/runs/${key}", {"predictions/${key}": {"cache": False}}],
    },
}
STRESS = {"foreach": "${train.runs}", "do": {"cmd": "true", "deps": ["models/runs/${key}"]}}
WRITE = """mkdir -p models/runs/$1 predictions
echo $1 > models/runs/$1/network
cp -r learned predictions/$1
sed -i "s/learned/$1/" predictions/$1/run.json
"""


@pytest.fixture
def bare(tmp_path):
    """A graph of the same stages that does nothing, and two runs whose training is a script: DVC runs it in seconds."""
    params = yaml.safe_load(paths.PARAMS.read_text())
    params["ingest"]["dataset"] = "phantom"
    params["train"] |= {"runs": {"one": LINE, "two": LINE | {"seed": 1}}, "planned": {}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    stages = {name: {"cmd": "true"} for name in (*study.DATA_STAGES, *study.LATER_STAGES)} | {
        "train": TRAINING,
        "stress": STRESS,
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (tmp_path / "train.sh").write_text(WRITE)
    fake_predictions.write_run(tmp_path / "learned", fake_predictions.image_rows(fake_predictions.SMALL))
    (tmp_path / "pipeline").symlink_to(paths.ROOT / "pipeline")
    subprocess.run(dvc.command("init", "-q", "--no-scm"), cwd=tmp_path, check=True)
    return tmp_path


def begin(folder, *arguments, **environ):
    """Start Python in a bare graph's folder."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder, env={**environment(), "PIPELINE_ROOT": str(folder), "MLFLOW_TRACKING_URI": DEAD, **environ},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_signal_ends_what_runs_and_starts_nothing_that_waits(bare):
    (bare / "train.sh").write_text("touch started-$1; exec sleep 600\n")
    process = begin(bare, "-m", "pipeline.commands.study")
    wait_for(lambda: list(bare.glob("started-*")))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.splitlines()[-1] == "study: ended with all that it had started; the same command goes on"
    assert [path.name for path in bare.glob("started-*")] == ["started-one"]
    assert running(bare) == []


def test_trainings_side_by_side_have_a_gpu_each_and_what_mlflow_did_not_get_is_one_warning(bare):
    """The GPUs are named and need not be there: what counts is what each training is told."""
    both = "for _ in $(seq 600); do [ $(ls gpu-* | wc -l) = 2 ] && break; sleep 0.1; done; "
    (bare / "train.sh").write_text(f"echo $CUDA_VISIBLE_DEVICES > gpu-$1; {both}{WRITE}")
    two = {"CUDA_VISIBLE_DEVICES": "0,GPU-5f3e", "TMPDIR": str(bare)}
    process = begin(bare, "-m", "pipeline.commands.study", "--jobs", "2", **two)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert sorted(path.read_text() for path in bare.glob("gpu-*")) == ["0\n", "GPU-5f3e\n"]
    assert errors.count("did not take it all") == 1
    process = begin(bare, "-m", "pipeline.commands.study", "--jobs", "3", **two)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors == "study: JOBS=3, and a training needs a GPU of its own: here are 2\n"


def test_a_run_of_which_the_network_alone_is_absent_is_trained_only_if_it_is_named(bare):
    def trainings(*named):
        """The runs that a study would train, and what it says of the others."""
        code = "import logging; logging.basicConfig(); logging.root.setLevel('INFO'); "
        code += "from pipeline import settings; from pipeline.commands import study; "
        process = begin(bare, "-c", f"{code}print(*study._trainings(settings.load(), {list(named)}))")
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        return output.split(), errors

    assert subprocess.run(dvc.command("repro", "-q"), cwd=bare, env=environment()).returncode == 0
    assert trainings()[0] == []
    shutil.rmtree(bare / "models" / "runs" / "one")
    shutil.rmtree(bare / ".dvc" / "cache")
    assert "train@one" in would_run(bare), "as dvc repro does"
    assert not {"train@one", "train@two"} & would_run(bare, "--allow-missing")
    todo, said = trainings()
    assert todo == []
    assert "done, though their networks are not here: one; RUNS= trains them again" in said
    assert trainings("one")[0] == ["one"]
    _, errors = begin(bare, "-m", "pipeline.commands.repro", "--check").communicate()
    assert errors.splitlines()[-1].endswith("though `make study` would not (only networks are not here): one")
    (bare / "predictions" / "one" / "images.csv").write_text("others\n")
    assert trainings()[0] == ["one"], "predictions that are not those of dvc.lock"


def test_the_study_goes_on_past_a_failed_training_and_names_its_log(finished, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder, symlinks=True)
    short = RUNS["custom_cnn-raw-0"] | {"epochs": 1}
    change(folder, "train", "runs", "custom_cnn-raw-1", short | {"seed": 1, "learning_rate": 1e30})
    change(folder, "train", "runs", "custom_cnn-raw-2", short | {"seed": 2})
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.commands.study", "--jobs", "2", "custom_cnn-raw-1", "custom_cnn-raw-2"],
        cwd=folder, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    log = folder / ".cache" / "study" / "custom_cnn-raw-1.log"
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"study: failed: custom_cnn-raw-1 (see {log}); everything else is done"
    assert "the loss is" in log.read_text() and "learning rate" in log.read_text()
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    trained = {name.removeprefix("train@") for name in stages if name.startswith("train@")}
    assert trained == {*RUNS, "custom_cnn-raw-2"}
    assert "custom_cnn-raw-2" in (folder / "metrics" / "study.json").read_text()
    assert would_run(folder) >= {"train@custom_cnn-raw-1"}
    assert not {name for name in would_run(folder) if name.startswith("train@")} - {"train@custom_cnn-raw-1"}
    with sqlite3.connect(
        folder / "mlflow.db"
    ) as database:  # the metrics of the new run arrived, not its training alone
        query = "SELECT count(*) FROM runs JOIN latest_metrics USING (run_uuid) WHERE name = ? AND key = 'test_auc'"
        assert database.execute(query, ("custom_cnn-raw-2",)).fetchone()[0] == 1


def test_a_data_stage_that_fails_ends_the_study_at_once(finished, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder, symlinks=True)
    change(folder, "validate", "min_side", 5000)  # no image is that large
    before = digests(folder / "data" / "groups")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.commands.study"],
        cwd=folder, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("study: stage validate failed")
    assert digests(folder / "data" / "groups") == before
