"""What counts as the same: every bit of every array, every line, every key."""

import h5py
import numpy as np
import pytest

from pipeline.commands.comparison import compare_lines, compare_mappings, compare_weights

ARRAYS = {"layers/conv2d/vars/0": np.array([[0.0, 1.0], [np.nan, 2.0]], "float32"), "layers/dense/vars/0": np.zeros(3)}


def write(path, arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


@pytest.fixture
def base(tmp_path):
    return write(tmp_path / "base.h5", ARRAYS)


def test_the_same_arrays_are_equal_under_other_names(base, tmp_path):
    assert compare_weights(base, write(tmp_path / "same.h5", ARRAYS)) == []
    renamed = {name.replace("layers/", "blocks/"): array for name, array in ARRAYS.items()}
    assert compare_weights(base, write(tmp_path / "renamed.h5", renamed)) == []


@pytest.mark.parametrize(
    "other",
    [
        np.array([[-0.0, 1.0], [np.nan, 2.0]], "float32"),  # one bit, and equal as numbers
        np.array([[0.0, 1.0], [np.nan, np.nextafter(np.float32(2), 3)]], "float32"),
        np.array([[0.0, 1.0], [np.nan, 2.0]], "float64"),
        np.array([0.0, 1.0, np.nan, 2.0], "float32"),
    ],
    ids=["sign of zero", "last bit", "type", "shape"],
)
def test_one_bit_is_a_difference(base, tmp_path, other):
    changed = write(tmp_path / "other.h5", ARRAYS | {"layers/conv2d/vars/0": other})
    assert compare_weights(base, changed) == ["weights from layers/conv2d/vars/0 on"]


def test_one_array_more_is_a_difference(base, tmp_path):
    more = write(tmp_path / "more.h5", ARRAYS | {"layers/dense/vars/1": np.zeros(1)})
    assert compare_weights(base, more) == ["weights: 2 arrays, then 3"]


@pytest.mark.parametrize(
    ("base", "new", "told"),
    [
        ("a\nb\n", "a\nb\n", []),
        ("a\nb\n", "a\nc\n", ["line 2"]),
        ("a\nb\n", "a\nb\nc\n", ["line 3"]),
        ("a\nb\n", "a\nb", ["line 2"]),
        ("a\nb\n", "a\r\nb\r\n", ["line 1"]),
    ],
)
def test_the_first_line_that_differs_is_told(base, new, told):
    assert compare_lines(base, new) == told


def test_keys_that_differ_are_told_with_both_values():
    assert compare_mappings({"a": 1, "b": None}, {"b": None, "a": 1}) == []
    told = compare_mappings({"a": 1, "b": None}, {"a": 2, "c": 0.1})
    assert told == ["a: 1, then 2", "b: None, then absent", "c: absent, then 0.1"]
