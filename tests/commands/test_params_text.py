"""The text of params.yaml: whatever either side does to the runs, in whatever style, the merge is that of the settings."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import paths
from pipeline.commands import params_text
from pipeline.commands.three_way import Sides, merge
from pipeline.errors import ProjectError

BEFORE = "# knobs\ntrain:\n  common: {epochs: 15}\n  runs:   # a run each\n"
AFTER = "  # not trained\n  planned: {}\n\ngate:\n  folds: 5\n"
NAMES = ["a-0", "b-0", "c-0", "d-0"]


def written(runs, style, comment=False):
    """params.yaml with these runs; each in block style, or in braces on one line."""
    text = BEFORE
    for name, seed in runs.items():
        text += f"    # about {name}\n" if comment else ""
        text += f"    {name}: {{seed: {seed}, rates: [1, 2]}}  # here\n" if style == "flow" else block(name, seed)
    return text + AFTER


def block(name, seed):
    return f"    {name}:\n      seed: {seed}   # here\n      rates:\n      - 1\n      - 2\n"


def parts(text):
    return params_text.split(text, "params.yaml")


TABLES = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2), min_size=1)
STYLES = st.sampled_from(["block", "flow"])


@settings(max_examples=40, deadline=None)
@given(st.tuples(TABLES, TABLES, TABLES), st.tuples(STYLES, STYLES, STYLES), st.booleans())
def test_the_text_is_merged_as_the_settings_are(tables, styles, comment):
    wanted, clashes = merge(Sides(*tables))
    sides = (parts(written(table, style, comment)) for table, style in zip(tables, styles, strict=True))
    text, merged = params_text.combine(Sides(*sides))
    runs = yaml.safe_load(text)["train"]["runs"] or {}
    assert {name: run["seed"] for name, run in runs.items()} == wanted
    assert merged == clashes
    assert text.startswith(BEFORE) and text.endswith(AFTER)
    for name in wanted:
        assert text.count(f"# about {name}\n") == comment


@given(TABLES, STYLES, st.booleans())
def test_what_is_taken_apart_is_whole(table, style, comment):
    text = written(table, style, comment)
    taken = parts(text)
    assert taken.before + "".join(run.comment + run.lines for run in taken.runs.values()) + taken.after == text
    assert list(taken.runs) == list(table)


def test_the_projects_own_settings_are_taken_apart():
    text = paths.PARAMS.read_text(encoding="utf-8")
    taken = parts(text)
    assert {name: run.settings for name, run in taken.runs.items()} == yaml.safe_load(text)["train"]["runs"]
    assert taken.before + "".join(run.comment + run.lines for run in taken.runs.values()) + taken.after == text


def test_one_side_changes_the_layout_and_the_other_adds_a_run():
    """A branch from before the table's block style meets one from after it."""
    base, theirs = {"a-0": 0, "b-0": 0}, {"a-0": 0, "b-0": 0, "c-0": 0}
    for order in (1, -1):
        others = [parts(written(base, "block")), parts(written(theirs, "flow"))][::order]
        text, clashes = params_text.combine(Sides(parts(written(base, "flow")), *others))
        assert not clashes
        assert block("a-0", 0) in text and block("b-0", 0) in text
        assert yaml.safe_load(text)["train"]["runs"].keys() == theirs.keys()


def test_a_comment_goes_with_the_run_below_it_and_one_within_stays_within():
    text = BEFORE + block("a-0", 0) + "      # within a\n\n    # above b\n" + block("b-0", 0) + "    # last\n" + AFTER
    taken = parts(text)
    assert taken.runs["a-0"].lines.endswith("# within a\n")
    assert taken.runs["b-0"].comment == "\n    # above b\n"
    assert taken.after == "    # last\n" + AFTER


def test_a_comment_that_one_side_changes_meets_settings_that_the_other_changes():
    base, ours = written({"a-0": 0}, "block", comment=True), written({"a-0": 1}, "block", comment=True)
    theirs = base.replace("# about a-0", "# the first")
    text, clashes = params_text.combine(Sides(*map(parts, (base, ours, theirs))))
    assert not clashes
    assert text == ours.replace("# about a-0", "# the first")


def test_a_comment_that_both_sides_change_is_theirs_to_settle():
    sides = (written({"a-0": 0}, "block", comment=True).replace("about", word) for word in ("about", "now", "then"))
    assert params_text.combine(Sides(*map(parts, sides)))[1] == ["a-0"]


def test_a_run_is_put_where_its_side_has_it():
    base, ours, theirs = {"a-0": 0, "b-0": 0}, {"a-0": 0, "c-0": 0, "b-0": 0}, {"a-0": 0, "d-0": 0, "b-0": 0}
    text, _ = params_text.combine(Sides(*(parts(written(table, "block")) for table in (base, ours, theirs))))
    assert list(yaml.safe_load(text)["train"]["runs"]) == ["a-0", "c-0", "d-0", "b-0"]


def test_other_lines_are_merged_and_a_conflict_among_them_is_named():
    base = written({"a-0": 0}, "block")
    ours = base.replace("folds: 5", "folds: 6").replace("epochs: 15", "epochs: 20")
    theirs = base.replace("folds: 5", "folds: 7").replace("# knobs", "# every knob")
    text, clashes = params_text.combine(Sides(*map(parts, (base, ours, theirs))))
    assert not clashes
    assert "# every knob\n" in text and "epochs: 20" in text
    assert params_text.conflicts(text) == [f"line {text[: text.index('<<<<<<< ')].count(chr(10)) + 1} (gate.folds)"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {runs: {a-0: {seed: 0}}}\n", "train.runs must hold runs, each on lines of its own"),
        ("train:\n  runs: {}\n", "train.runs must hold runs"),
        ("train: 5\n", "train.runs must hold runs"),
        ("- train\n", "no mapping"),
        ("train: {\n", "line 2: "),
        ("train:\n  runs:\n    a-0: {seed: 0}\n    a-0: {seed: 1}\n", 'line 4: found duplicate key "a-0"; mend it'),
    ],
)
def test_what_cannot_be_taken_apart_is_one_line(text, said):
    with pytest.raises(ProjectError) as caught:
        parts(text)
    assert str(caught.value).startswith("params.yaml")
    assert said in str(caught.value) and "\n" not in str(caught.value)
