"""The strict reader: each way in which a prediction file can lie, and that the message says where."""

import csv
import json

import numpy as np
import pytest

from pipeline.errors import ProjectError
from pipeline.evaluation import predictions
from pipeline.robustness.families import UNSEEN
from tests.fake_predictions import CHANGES, SMALL, image_rows, write_run

ROWS = image_rows(SMALL)
RUN = "custom_cnn-raw-0"


@pytest.fixture
def folder(tmp_path):
    write_run(tmp_path / RUN, ROWS)
    return tmp_path / RUN


def edit(path, change):
    """Rewrite a CSV after `change` has altered its rows (a list of lists, header first)."""
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))
    rows = change(rows) or rows
    with path.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def put(line, column, value):
    def change(rows):
        rows[line - 1][rows[0].index(column)] = value

    return change


def test_a_whole_run_is_read_in_path_order(folder):
    run = predictions.read(folder)
    assert run.validation.paths == sorted(path for path, split, *_ in ROWS if split == "validation")
    assert run.test.labels.sum() == sum(row[1] == "test" and row[2] == "PNEUMONIA" for row in ROWS)
    assert set(run.stress) == set(CHANGES)
    assert all(len(logits) == len(run.validation.paths) for logits in run.stress.values())
    assert list(run.history["epoch"]) == [1, 2, 3, 4, 5]


def test_the_order_of_lines_does_not_matter(folder, tmp_path):
    before = predictions.read(folder)
    order = np.random.default_rng(0).permutation(len(ROWS))

    def shuffle(rows):
        return [rows[0], *(rows[1 + place] for place in order)]

    def renumber(rows):
        where = {str(old): str(new) for new, old in enumerate(order)}
        return [rows[0], *([where[row[0]], *row[1:]] for row in reversed(rows[1:]))]

    edit(folder / "images.csv", shuffle)
    edit(folder / "stress.csv", renumber)
    edit(folder / "unseen.csv", lambda rows: [rows[0], *([row[0], *renumber([0, row[1:]])[1]] for row in rows[1:])])
    after = predictions.read(folder)
    np.testing.assert_array_equal(after.test.logits, before.test.logits)
    for change in CHANGES:
        np.testing.assert_array_equal(after.stress[change], before.stress[change])
    for change in UNSEEN.changes:
        np.testing.assert_array_equal(after.unseen[change], before.unseen[change])


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("images.csv", put(5, "probability", "1.2"), r"line 5 .*probability is not a number from 0 to 1"),
        ("images.csv", put(5, "probability", "-0.1"), r"line 5 .*probability is not a number from 0 to 1"),
        ("images.csv", put(5, "probability", "nan"), r"line 5 .*probability is not a number from 0 to 1"),
        ("images.csv", put(5, "probability", "none"), r"line 5: probability 'none' is not a number"),
        ("images.csv", put(5, "probability", "0.31"), r"line 5 .*not the sigmoid of the logit"),
        ("images.csv", put(5, "logit", "nan"), r"line 5 .*logit is not a finite number"),
        ("images.csv", put(5, "logit", "inf"), r"line 5 .*logit is not a finite number"),
        ("images.csv", put(5, "logit", ""), r"line 5: logit '' is not a number"),
        ("images.csv", put(5, "split", "train"), r"line 5 .*split 'train'"),
        ("images.csv", put(5, "label", "SICK"), r"line 5 .*label 'SICK'"),
        ("images.csv", put(2, "subtype", "viral"), r"line 2 .*subtype 'viral' does not belong to NORMAL"),
        ("images.csv", put(5, "patient", ""), r"line 5 .*path and patient must be named"),
        ("images.csv", lambda rows: [*rows, rows[1]], r"image .* is repeated"),
        ("images.csv", lambda rows: [*rows[:4], rows[4][:3], *rows[5:]], r"line 5: 3 fields in place of 7"),
        ("images.csv", lambda rows: [["path"], *rows[1:]], r"expected the columns path, split"),
        ("images.csv", lambda rows: rows[:1], r"validation needs images of both classes"),
        (
            "images.csv",
            lambda rows: [row for row in rows if row[1] != "test" or row[2] == "NORMAL"],
            r"test needs images of both classes",
        ),
        ("stress.csv", lambda rows: [*rows, rows[1]], r"row 0 is repeated under 'gamma_0.6'"),
        ("stress.csv", lambda rows: [rows[0], *rows[2:]], r"1 validation images are missing under 'gamma_0.6'"),
        ("stress.csv", put(5, "row", "9999"), r"line 5: row 9999 is no validation image"),
        ("stress.csv", put(5, "logit", "nan"), r"line 5: logit is not a finite number"),
        ("stress.csv", lambda rows: rows[:1], r"no stressed image"),
        ("history.csv", put(3, "val_loss", "x"), r"line 3: val_loss 'x' is not a number"),
        ("history.csv", put(3, "val_accuracy", "nan"), r"line 3: val_accuracy is not a finite number"),
        ("history.csv", lambda rows: rows[:4], r"history.csv holds 3 epochs; run.json says 5"),
    ],
)
def test_a_line_that_cannot_be_true_is_named(folder, file, change, message):
    edit(folder / file, change)
    with pytest.raises(ProjectError, match=message) as caught:
        predictions.read(folder)
    assert f"{RUN}/{file}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_validation_image_that_every_run_lacks_is_missed_all_the_same(folder):
    run = json.loads((folder / "run.json").read_text())
    there = sum(row[1] == "validation" for row in ROWS)
    (folder / "run.json").write_text(json.dumps(run | {"validation_pictures": there + 1}))
    message = f"images.csv holds {there} validation images; run.json says {there + 1}"
    with pytest.raises(ProjectError, match=message):
        predictions.read(folder)


def test_a_patient_on_both_sides_is_named(folder):
    def leak(rows):
        split, patient = rows[0].index("split"), rows[0].index("patient")
        test = next(row for row in rows[1:] if row[split] == "test")
        rows[1][patient] = test[patient]

    edit(folder / "images.csv", leak)
    with pytest.raises(ProjectError, match="is in both validation and test"):
        predictions.read(folder)


@pytest.mark.parametrize("file", ["images.csv", "stress.csv", "history.csv", "run.json"])
def test_a_missing_file_and_half_a_file_are_named(folder, file):
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2 + 3])
    with pytest.raises(ProjectError, match=file):
        predictions.read(folder)
    (folder / file).unlink()
    with pytest.raises(ProjectError, match=f"{file} is missing"):
        predictions.read(folder)


def test_run_json_must_speak_of_its_own_folder(folder):
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(facts | {"run": "vgg16-raw-0"}))
    with pytest.raises(ProjectError, match="lies in the folder of 'custom_cnn-raw-0'"):
        predictions.read(folder)
    del facts["backend"]
    (folder / "run.json").write_text(json.dumps(facts))
    with pytest.raises(ProjectError, match=r"run\.json: backend missing"):
        predictions.read(folder)


def three_runs(root, odd, **facts):
    """Two runs on all images, a third one on `odd`."""
    for place, name in enumerate(("custom_cnn-raw-0", "vgg16-raw-0")):
        write_run(root / name, ROWS, seed=place)
    write_run(root / "xception-raw-0", odd, seed=2, **facts)
    return root


def test_runs_that_agree_are_all_read(tmp_path):
    assert list(predictions.read_all(three_runs(tmp_path, ROWS))) == [
        "custom_cnn-raw-0",
        "vgg16-raw-0",
        "xception-raw-0",
    ]


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (ROWS[1:], f"xception-raw-0: 1 validation images are missing, first {ROWS[0][0]}"),
        ([*ROWS, ("zz.jpeg", "test", "NORMAL", "normal", "zz")], "1 test images are unknown to other runs, first zz"),
        ([(*ROWS[0][:4], "somebody"), *ROWS[1:]], "disagree on subtype or patient of validation"),
    ],
)
def test_a_run_on_other_images_is_named(tmp_path, odd, message):
    with pytest.raises(ProjectError, match=message):
        predictions.read_all(three_runs(tmp_path, odd))


@pytest.mark.parametrize("facts", [{"dataset": "phantom"}, {"dataset_digest": "1" * 64}, {"edition": "original"}])
def test_runs_of_different_data_sets_are_never_put_side_by_side(tmp_path, facts):
    with pytest.raises(ProjectError, match="made on different data sets"):
        predictions.read_all(three_runs(tmp_path, ROWS, **facts))


@pytest.mark.parametrize("changes", [CHANGES[:2], tuple(UNSEEN.changes), (*CHANGES, "another")])
def test_a_stress_file_of_another_family_is_refused(folder, changes):
    write_run(folder, ROWS, changes=changes)
    with pytest.raises(
        ProjectError, match=r"stress\.csv is of another family of changes.*dvc repro stress@custom_cnn-raw-0"
    ):
        predictions.read(folder)


def test_the_file_of_one_family_is_not_read_as_that_of_the_other(folder):
    (folder / "unseen.csv").write_bytes((folder / "stress.csv").read_bytes())
    with pytest.raises(ProjectError, match=r"unseen\.csv: expected the columns version, row"):
        predictions.read(folder)


@pytest.mark.parametrize(("column", "value"), [(0, "0"), (2, "another_name")])
def test_a_family_changed_after_a_run_was_measured_with_it_is_not_measured(folder, column, value, caplog):
    assert predictions.read(folder).unseen.keys() == UNSEEN.changes.keys()

    def changed(rows):
        return [rows[0], *([*row[:column], value, *row[column + 1 :]] for row in rows[1:])]

    edit(folder / "unseen.csv", changed)
    assert predictions.read(folder).unseen == {}
    assert "not measured" in caplog.text


def test_no_run_at_all_says_what_to_do(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ProjectError, match="train one first"):
            predictions.read_all(folder)
