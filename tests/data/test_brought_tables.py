"""Tables that people bring: what is read as it is meant, and what is refused in one line with the line's number."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import brought_tables
from pipeline.errors import ProjectError

COLUMNS = ("file", "label", "patient")
HEADER = "file,label,patient,view\n"


def put(folder: Path, content: str | bytes) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        HEADER + "a.png,NORMAL,1,PA\n",
        ("\ufeff" + HEADER + "a.png,NORMAL,1,PA\n").encode(),
        HEADER.replace("\n", "\r\n") + "a.png,NORMAL,1,PA\r\n",
        HEADER.replace("\n", "\r") + "a.png,NORMAL,1,PA",
        "View, Patient ,LABEL,File\nPA,1,NORMAL,a.png\n",
        '"file","label","patient","view"\n"a.png","NORMAL","1","PA"\n',
        'file,label,patient,view,,\na.png, NORMAL ,1, "PA",,\n,,,,,\n\n',
    ],
    ids=["plain", "BOM", "Windows", "old Mac", "columns in another order and case", "quoted", "empty cells and lines"],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, content: str | bytes) -> None:
    (line,) = brought_tables.read_brought(put(tmp_path, content), COLUMNS)
    assert line == (2, {"file": "a.png", "label": "NORMAL", "patient": "1", "view": "PA"})


ROWS = "a.png,NORMAL,1,PA\nb.png,PNEUMONIA,2,PA\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ((HEADER + ROWS).encode("utf-16"), "line 1: UTF-16"),
        ((HEADER + ROWS).encode("utf-32"), "line 1: UTF-16 or UTF-32"),
        ((HEADER + ROWS).encode("utf-16-le"), "line 1: a zero byte"),
        ((HEADER + ROWS + "m\u00fcller.png,NORMAL,3,PA\n").encode("cp1252"), "line 4: no UTF-8 (byte FC)"),
        ((HEADER + ROWS + "\u00d6.png,NORMAL,3,PA\n").encode("mac-roman"), "line 4: no UTF-8"),
        ((HEADER + "\u00fc.png,NORMAL,3,PA\n").replace("\n", "\r").encode("latin-1"), "line 2: no UTF-8"),
        ((HEADER + ROWS).replace(",", ";"), "line 1: separated by ';'"),
        ((HEADER + ROWS).replace(",", "\t"), "line 1: separated by '\\t'"),
        (HEADER + ROWS.replace(",", ";"), "line 2: separated by ';'"),
        ("sep=;\n" + (HEADER + ROWS).replace(",", ";"), "line 1: separated by ';'"),
        (HEADER + ROWS + '"c.png,NORMAL,3,PA\nd.png,NORMAL,4,PA\n', "line 4: an open quote"),
        (HEADER + 'a.png,NORMAL,"1,PA\nb.png,NORMAL,"2",PA\n', "line 2: an open quote"),
        (HEADER + '\n\na.png,NORMAL,1,"PA\n"\n', "line 4: an open quote"),
        (HEADER + '"a.png"x,NORMAL,1,PA\n', "line 2: ',' expected after"),
        (HEADER + "a.png,NORMAL,1,PA,left\n", "line 2: 5 cells, the header has 4"),
        (HEADER + f"{'a' * 140_000}.png,NORMAL,1,PA\n", "line 2: field larger than"),
        ("file,label\n", "line 1: no column patient"),
        ("file,label,patient,Label\n", "line 1: column label stands twice"),
        ("", "line 1: no column file, label, patient"),
        (b"PK\x03\x04" + bytes(200), "line 1: a spreadsheet"),
        (b"\xd0\xcf\x11\xe0" + bytes(200), "line 1: a spreadsheet"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_the_line(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(ProjectError) as error:
        brought_tables.read_brought(put(tmp_path, content), COLUMNS)
    assert f"labels.csv, {said}" in str(error.value) and "\n" not in str(error.value)


def test_no_table_is_no_traceback(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path, Path("/dev/zero")):
        with pytest.raises(ProjectError, match="is no file"):
            brought_tables.read_brought(path, COLUMNS)
    large = tmp_path / "large.csv"
    with large.open("wb") as stream:
        stream.truncate(brought_tables.MAX_BYTES + 1)  # takes no room on the disk
    with pytest.raises(ProjectError, match="is it a table"):
        brought_tables.read_brought(large, COLUMNS)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_end_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for data in (content, HEADER.encode() + content):
        try:
            brought_tables.read_brought(put(folder, data), COLUMNS)
        except ProjectError as error:
            assert "\n" not in str(error)


NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: b"/" not in name and b"\0" not in name)


@settings(deadline=None)
@given(NAMES)
def test_any_name_stands_in_a_table_comes_back_and_computes_nothing(name: bytes) -> None:
    text = os.fsdecode(name)
    shown = brought_tables.cell(text)
    shown.encode("utf-8")
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r", " ")) and "\n" not in shown
    assert shown == text or os.fsencode(brought_tables.name_of(shown)) == name


@settings(deadline=None)
@given(NAMES, NAMES)
def test_two_names_that_need_writing_stay_two(left: bytes, right: bytes) -> None:
    first, second = os.fsdecode(left), os.fsdecode(right)
    if left != right and first != brought_tables.cell(first) and second != brought_tables.cell(second):
        assert brought_tables.cell(first) != brought_tables.cell(second)
