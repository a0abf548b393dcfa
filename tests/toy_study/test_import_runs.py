"""Trainings of another machine: what is handed over, what is taken, and what is refused in one line."""

import json
import re
import shutil

import pytest
import yaml

from pipeline import handover
from tests.study_fixture import call, change, digests, python, would_run

NAME = "custom_cnn-balanced-0"


@pytest.fixture(scope="module")
def handed_over(finished, tmp_path_factory):
    """What the machine that trained gives away, its network too."""
    folder = tmp_path_factory.mktemp("handover") / "bag"
    done = python(finished, "pipeline.handover", str(folder), NAME, "--networks")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def bag(handed_over, tmp_path):
    """A copy to damage."""
    return shutil.copytree(handed_over, tmp_path / "bag")


@pytest.fixture
def untrained(project, tmp_path):
    """The project before this run was trained, and what is put back after the test."""
    whole = yaml.safe_load((project / "dvc.lock").read_text())
    by_dvc = whole["stages"].pop(f"train@{NAME}")
    (project / "dvc.lock").write_text(yaml.safe_dump(whole, sort_keys=False))
    outputs = [project / "models" / "runs" / NAME, project / "predictions" / NAME]
    for path in outputs:
        shutil.move(path, tmp_path / path.parent.name)
    yield project, by_dvc
    for path in outputs:
        shutil.rmtree(path, ignore_errors=True)
        shutil.move(tmp_path / path.parent.name, path)
    (project / ".work" / "elsewhere").unlink(missing_ok=True)


def refused(done):
    """Why, in one line."""
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    return line


def entry_of_lock(project):
    return numbers(yaml.safe_load((project / "dvc.lock").read_text())["stages"][f"train@{NAME}"])


def numbers(value):
    """DVC writes a small number as 1e-06, which YAML 1.2 reads as a number and PyYAML as a word."""
    if isinstance(value, dict):
        return {key: numbers(one) for key, one in value.items()}
    return float(value) if isinstance(value, str) and re.fullmatch(r"\d+e-\d+", value) else value


def test_a_run_without_its_network_is_imported_and_not_trained_again(untrained, bag):
    project, by_dvc = untrained
    shutil.rmtree(bag / NAME / "network")
    stale = project / "models" / "runs" / NAME / "network.weights.h5"
    stale.parent.mkdir()
    stale.write_bytes(b"of an earlier training")
    done = python(project, "pipeline.import_runs", str(bag))
    assert done.returncode == 0, done.stderr
    assert not stale.exists(), "a network that did not make these predictions"
    assert f"exist only on the machine that trained them: {NAME}" in done.stderr
    assert "plain `dvc repro` would train them again" in done.stderr
    assert entry_of_lock(project) == numbers(by_dvc)
    assert (project / ".work" / "elsewhere").read_text() == f"{NAME}\n"
    assert f"train@{NAME}" not in would_run(project, "--allow-missing", f"train@{NAME}")


def test_a_network_that_came_along_is_in_its_place_and_in_the_cache(untrained, bag):
    project, by_dvc = untrained
    done = python(project, "pipeline.import_runs", str(bag))
    assert done.returncode == 0, done.stderr
    assert "exist only" not in done.stderr
    assert entry_of_lock(project) == numbers(by_dvc)
    network = project / "models" / "runs" / NAME
    assert digests(network) == {f"{NAME}/network.weights.h5": d for d in digests(bag / NAME / "network").values()}
    shutil.rmtree(network)
    assert call(project, "checkout", f"train@{NAME}").returncode == 0
    assert (network / "network.weights.h5").exists()


def half(record):
    record.write_text(record.read_text()[:200])


def no_outputs(record):
    record.write_text(
        json.dumps({key: value for key, value in json.loads(record.read_text()).items() if key != "outs"})
    )


def no_history(record):
    (record.parent / "history.csv").unlink()


def another_history(record):
    (record.parent / "history.csv").write_text("epoch\n")


def other_batches(record):
    """As if the settings had been changed between the training and the handover."""
    path = record.parent / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"batch_size": 9}))
    whole = json.loads(record.read_text())
    whole["outs"][f"predictions/{NAME}/run.json"] = handover.entry(path)
    record.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (half, "record.json is no whole JSON: copy the whole folder once more"),
        (no_outputs, "record.json lacks outs: copy the whole folder once more"),
        (no_history, "history.csv is missing: copy the whole folder once more"),
        (another_history, "history.csv: not the file that was handed over"),
        (other_batches, f"{NAME} was trained with batch_size 9 (run.json), params.yaml has 4: train it again"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line_and_nothing_is_touched(project, bag, damage, says):
    damage(bag / NAME / "record.json")
    before = digests(project / "predictions")
    assert says in refused(python(project, "pipeline.import_runs", str(bag)))
    assert digests(project / "predictions") == before


def test_other_settings_code_and_data_are_refused_where_it_is_imported(project, bag):
    networks, lock = project / "pipeline" / "learning" / "networks.py", project / "dvc.lock"
    code, locked = networks.read_text(), lock.read_text()
    arrays = next(out["md5"] for out in yaml.safe_load(locked)["stages"]["preprocess"]["outs"])
    lock.write_text(locked.replace(arrays, "0" * 32 + ".dir"))
    said = refused(python(project, "pipeline.import_runs", str(bag)))
    assert "trained on another data/arrays than the one in dvc.lock" in said
    lock.write_text(locked)
    networks.write_text(code + "\n# A remark.\n")
    said = refused(python(project, "pipeline.import_runs", str(bag)))
    assert "trained by another pipeline/learning/networks.py than the one here" in said
    networks.write_text(code)
    change(project, "train", "common", "batch_size", 2)
    said = refused(python(project, "pipeline.import_runs", str(bag)))
    assert "trained with other settings than params.yaml has: train.common" in said


def test_what_was_not_trained_by_the_settings_and_code_that_are_here_now_is_not_handed_over(project, tmp_path):
    bag = tmp_path / "bag"
    networks = project / "pipeline" / "learning" / "networks.py"
    code = networks.read_text()
    networks.write_text(code + "\n# A remark.\n")
    done = python(project, "pipeline.handover", str(bag), NAME)
    assert done.returncode == 1 and "nothing proves that these settings, data, code" in done.stderr.splitlines()[-1]
    networks.write_text(code)
    change(project, "train", "runs", NAME, "epochs", 2)
    said = refused(python(project, "pipeline.handover", str(bag), NAME))
    assert said == f"handover: {NAME} was trained with epochs 8 (run.json), params.yaml has 2: train it again"
    change(
        project,
        "train",
        "runs",
        "custom_cnn-raw-1",
        {"network": "custom_cnn", "group": "raw", "seed": 1, "weights": "random"},
    )
    assert "is missing: was the run trained here?" in refused(
        python(project, "pipeline.handover", str(bag), "custom_cnn-raw-1")
    )
    assert not bag.exists()
