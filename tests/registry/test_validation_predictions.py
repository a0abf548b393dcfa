"""What a champion said of validation images, kept beside it: read as it was written, or asked of its graph."""

import csv
from dataclasses import replace

import champion_fixture
import numpy as np
import pytest
import validation_fixture

from pipeline import paths
from pipeline.data.tables import write_table
from pipeline.errors import ProjectError
from pipeline.evaluation.predictions import Split
from pipeline.registry import validation_predictions
from pipeline.registry.validation_predictions import Validation
from pipeline.robustness.families import UNSEEN

SIDE = champion_fixture.SIDE
NAMES = [f"train/{place}.jpeg" for place in range(6)]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, images):
    """A champion older than the family: its graph, and its answers to plain images and under the first family."""
    folder = champion_fixture.write_champion(tmp_path, "old")
    logits = np.array([champion_fixture.logit_of(image) for image in images])
    labels = np.arange(6) % 2 == 0
    clean = Split(NAMES, labels, [""] * 6, [f"patient {place}" for place in range(6)], logits)
    validation_predictions.write(folder, Validation(clean, {"gamma_0.6": logits}))
    return folder


def arrays(root, monkeypatch, images, names=NAMES):
    """data/arrays with these images, in another order than the champion's answers."""
    monkeypatch.setattr(paths, "ARRAYS", root / "data" / "arrays")
    (root / "data" / "arrays").mkdir(parents=True)
    np.save(paths.array("development"), images[::-1])
    write_table(paths.index("development"), ["path"], [{"path": name} for name in names[::-1]])


def edit(path, change):
    with path.open(newline="") as stream:
        header, *rows = list(csv.reader(stream))
    with path.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *map(change, rows)])


def test_both_families_are_read_as_they_were_written(tmp_path):
    (written,) = validation_fixture.networks(0, 0.99)
    validation_predictions.write(tmp_path, written)
    measured = validation_predictions.read(tmp_path)
    assert measured.clean.paths == written.clean.paths
    for ours, theirs in ((measured.stress, written.stress), (measured.unseen, written.unseen)):
        assert ours.keys() == theirs.keys()
        for change, logits in ours.items():
            np.testing.assert_allclose(logits, theirs[change], rtol=1e-5)


def test_a_champion_that_was_not_measured_is_asked_where_the_images_are(tmp_path, monkeypatch, folder, images):
    arrays(tmp_path, monkeypatch, images)
    measured = validation_predictions.measured(folder)
    assert measured.unseen.keys() == UNSEEN.changes.keys()
    for name, change in UNSEEN.changes.items():
        expected = [champion_fixture.logit_of(image) for image in change(images)]
        np.testing.assert_allclose(measured.unseen[name], expected, atol=1e-4)
    assert not (folder / "unseen.csv").exists(), "asking writes nothing"


def test_only_images_at_hand_are_asked_about(tmp_path, monkeypatch, folder, images):
    arrays(tmp_path, monkeypatch, images[:4], NAMES[:4])
    measured = validation_predictions.measured(folder)
    assert measured.clean.paths == NAMES[:4]
    expected = [champion_fixture.logit_of(image) for image in UNSEEN.changes["jpeg_4"](images[:4])]
    np.testing.assert_allclose(measured.unseen["jpeg_4"], expected, atol=1e-4)


def test_without_images_one_line_says_what_is_missing_and_what_to_do(tmp_path, monkeypatch, folder, images):
    monkeypatch.setattr(paths, "ARRAYS", tmp_path / "absent")
    with pytest.raises(
        ProjectError, match=r"old\S* was not measured with version 1 .*data/arrays is not here.*make repro"
    ):
        validation_predictions.measured(folder)
    arrays(tmp_path, monkeypatch, images, [f"other/{place}.jpeg" for place in range(6)])
    with pytest.raises(ProjectError, match="data/arrays holds none of its validation images"):
        validation_predictions.measured(folder)


@pytest.mark.parametrize("change", [lambda row: ["0", *row[1:]], lambda row: [*row[:2], "another", row[3]]])
def test_a_family_changed_since_does_not_count(tmp_path, monkeypatch, folder, images, change):
    arrays(tmp_path, monkeypatch, images)
    validation_predictions.write_unseen(folder, _graph(folder), images)
    assert validation_predictions.read(folder).unseen
    edit(folder / "unseen.csv", change)
    assert validation_predictions.read(folder).unseen == {}
    assert validation_predictions.measured(folder).unseen.keys() == UNSEEN.changes.keys(), "and the graph is asked anew"


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda row: [*row[:3], "nan"], "missing or infinite"), (lambda row: [row[0], "9", *row[2:]], "damaged")],
)
def test_a_damaged_file_is_named(folder, images, change, message):
    validation_predictions.write_unseen(folder, _graph(folder), images)
    edit(folder / "unseen.csv", change)
    with pytest.raises(ProjectError, match=rf"unseen\.csv .*{message}"):
        validation_predictions.read(folder)


def test_images_are_taken_under_every_change():
    (complete,) = validation_fixture.networks(0, 0.99)
    rows = np.array([5, 2, 9])
    part = complete.take(rows)
    np.testing.assert_array_equal(part.unseen["jpeg_4"], complete.unseen["jpeg_4"][rows])
    np.testing.assert_array_equal(part.stress["dark"], complete.stress["dark"][rows])
    assert replace(part, unseen={}).take(np.array([0])).unseen == {}


def _graph(folder):
    return validation_predictions.Graph(folder / "model.onnx")
