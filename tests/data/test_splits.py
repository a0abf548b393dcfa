import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data import splits
from pipeline.data.groups import balance
from pipeline.data.splits import is_validation
from pipeline.errors import ProjectError

patients = st.lists(st.tuples(st.text(max_size=12), st.sampled_from(["normal", "bacterial", "viral"])), unique=True)


@given(patients, patients, st.integers(0, 100))
def test_adding_images_moves_nobody(first, more, percent):
    """Membership depends on the patient alone: a larger set gives the same answer for everyone who was there."""
    before = {patient: is_validation(*patient, "salt", percent) for patient in first}
    after = {patient: is_validation(*patient, "salt", percent) for patient in [*more, *first]}
    assert all(after[patient] == before[patient] for patient in first)


@given(st.text(max_size=12), st.integers(0, 99))
def test_a_larger_share_keeps_who_was_in_a_smaller_one(patient, percent):
    if is_validation(patient, "viral", "salt", percent):
        assert is_validation(patient, "viral", "salt", percent + 1)


@pytest.mark.parametrize("subtype", ["normal", "bacterial", "viral"])
def test_a_tenth_of_each_subtype_is_held_out(subtype):
    chosen = [is_validation(f"person{number}", subtype, "salt", 10) for number in range(20_000)]
    assert abs(np.mean(chosen) - 0.1) < 0.007  # three standard errors


def test_the_salt_chooses_other_patients():
    chosen = {
        salt: [is_validation(f"person{number}", "viral", salt, 10) for number in range(1000)] for salt in ("one", "two")
    }
    assert chosen["one"] != chosen["two"]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 5))
def test_balancing_repeats_only_the_rare_class(normal, pneumonia, seed):
    rows = np.arange(100, 100 + normal + pneumonia)
    labels = np.array([0] * normal + [1] * pneumonia)
    balanced = balance(rows, labels, seed)
    counts = {row: int((balanced == row).sum()) for row in rows}
    repeated = balanced[np.isin(balanced, rows[labels == 0])]
    assert len(balanced) == 2 * max(normal, pneumonia)
    assert len(repeated) == max(normal, pneumonia)
    assert min(counts.values()) >= 1, "nobody is lost"
    common = labels == int(pneumonia >= normal) if normal != pneumonia else labels >= 0
    assert all(counts[row] == 1 for row in rows[common])
    assert np.array_equal(balanced, balance(rows, labels, seed))


def test_balancing_one_class_is_an_error():
    with pytest.raises(ProjectError, match="class PNEUMONIA has no training image"):
        balance(np.arange(3), np.zeros(3, int), 0)


classes = st.lists(st.sets(st.text(max_size=6), min_size=2, max_size=60), min_size=2, max_size=2)


@given(classes)
def test_some_of_each_class_are_held_out_and_some_are_not(drawn):
    held_out = splits.held_out_patients(drawn)
    assert all(held_out & patients_of_class for patients_of_class in drawn)
    if not drawn[0] & drawn[1]:
        assert not any(patients_of_class <= held_out for patients_of_class in drawn)


def test_a_fifth_is_held_out_and_more_patients_move_nobody():
    patients = [{f"n{number}" for number in range(4000)}, {f"p{number}" for number in range(4000)}]
    held_out = splits.held_out_patients(patients)
    assert abs(len(held_out) / 8000 - 0.2) < 0.014  # three standard errors
    more = splits.held_out_patients([patients[0] | {"late", "later"}, patients[1]])
    assert held_out == more - {"late", "later"}
