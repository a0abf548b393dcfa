"""The manifest: who is on an image, what is in the file, which files are put aside and why."""

import csv
import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.data import manifest, phantom, sources
from pipeline.data.manifest import Persons, Unusable, inspect, patient_of
from pipeline.data.tables import read_table
from pipeline.files import sha256_of
from pipeline.settings import Phantom

LIMITS = {"min_side": 64, "max_pixels": 50_000_000}
TINY = Phantom(seed=4, train=10, val=2, test=6)
IMAGE = "train/NORMAL/IM-0115-0001.jpeg"


def _jpeg(side: int = 96, seed: int = 0, mode: str = "L") -> bytes:
    grey = np.random.default_rng(seed).integers(0, 255, (side, side), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).convert(mode).save(stream, format="JPEG")
    return stream.getvalue()


def _put(raw: Path, path: str, content: bytes) -> str:
    (raw / path).parent.mkdir(parents=True, exist_ok=True)
    (raw / path).write_bytes(content)
    return path


def _build(raw: Path) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Rows, and reason by path."""
    files = raw.parent / "manifest.csv", raw.parent / "quarantine.csv"
    manifest.build(raw, *files, **LIMITS)
    return read_table(files[0]), {row["path"]: row["reason"] for row in read_table(files[1])}


# Who is on it


@pytest.mark.parametrize(
    ("name", "patient", "subtype"),
    [
        ("IM-0115-0001.jpeg", "IM-0115", "normal"),
        ("IM-0437-0001-0002.jpeg", "IM-0437", "normal"),
        ("NORMAL2-IM-0383-0001.jpeg", "NORMAL2-IM-0383", "normal"),
        ("NORMAL2-IM-1103-0001-0001.jpeg", "NORMAL2-IM-1103", "normal"),
        ("person23_bacteria_87.jpeg", "person23_bacteria", "bacterial"),
        ("person23_virus_56.jpeg", "person23_virus", "viral"),
        ("person1372_virus_2362_1.jpeg", "person1372_virus", "viral"),
        ("holiday.jpeg", "holiday", "unknown"),
        ("person23_fungus_1.jpeg", "person23_fungus_1", "unknown"),
    ],
)
def test_the_patient_and_the_cause_are_read_off_the_name(name: str, patient: str, subtype: str) -> None:
    assert patient_of(name) == (patient, subtype)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["bacteria", "virus"]))
def test_a_patient_does_not_depend_on_the_image_number(patient: int, image: int, cause: str) -> None:
    assert patient_of(f"person{patient}_{cause}_{image}.jpeg") == patient_of(f"person{patient}_{cause}_0.jpeg")
    assert patient_of(f"person{patient}_{cause}_{image}.jpeg") != patient_of(
        f"person{patient + 1}_{cause}_{image}.jpeg"
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from("abcdefghij")), max_size=40), st.randoms())
def test_persons_are_the_connected_components_whatever_the_order(pairs, random) -> None:  # type: ignore[no-untyped-def]
    groups = {patient: {patient} for _, patient in pairs}
    for content, patient in pairs:
        for other, holder in pairs:
            if other == content and groups[holder] is not groups[patient]:
                joined = groups[holder] | groups[patient]
                groups |= dict.fromkeys(joined, joined)
    random.shuffle(pairs)
    persons = Persons()
    for content, patient in pairs:
        persons.add(f"{content:02x}", patient)
    assert {patient: persons.key(patient) for patient in groups} == {p: min(group) for p, group in groups.items()}


# What is in the file


def test_a_usable_image_is_described(tmp_path: Path) -> None:
    _put(tmp_path, IMAGE, _jpeg(mode="RGB"))
    row = inspect(tmp_path, IMAGE, **LIMITS)
    assert (row.split, row.label, row.width, row.height, row.mode) == ("train", "NORMAL", 96, 96, "RGB")
    assert (row.bytes, row.sha256) == ((tmp_path / IMAGE).stat().st_size, sha256_of(tmp_path / IMAGE))


def _png() -> bytes:
    stream = io.BytesIO()
    Image.new("L", (96, 96)).save(stream, format="PNG")
    return stream.getvalue()


def _claims(width: int, height: int) -> bytes:
    """A small JPEG whose header claims other sides: the start-of-frame segment holds precision, height, width."""
    content = bytearray(_jpeg())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zero bytes"),
        (b"<html>not found</html>", "not an image"),
        (_png(), "not a JPEG image: PNG"),
        (_jpeg()[: len(_jpeg()) // 2], "truncated"),
        (_jpeg()[: len(_jpeg()) // 2] + bytes(len(_jpeg()) // 2), "truncated|not decodable"),
        (_jpeg()[:-2] + bytes(8192), "truncated: no end mark"),
        (_jpeg(32), "absurd size: 32x32 pixels"),
        (_claims(9_000, 9_000), "absurd size: 9000x9000 pixels"),
        (_claims(65_000, 65_000), "absurd size"),
        (b"\xff\xd8\xff\xe0" + bytes(300) + b"\xff\xd9", "not an image|not decodable"),
        (_jpeg()[:20] + b"\xff\xc4\x00\x05\x00\x01\x02" + _jpeg()[20:], "not decodable|truncated"),
    ],
)
def test_what_cannot_be_used_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    _put(tmp_path, IMAGE, content)
    with pytest.raises(Unusable, match=reason):
        inspect(tmp_path, IMAGE, **LIMITS)


def test_an_absurd_size_is_refused_before_a_pixel_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    def explode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", explode)
    _put(tmp_path, IMAGE, _claims(9_000, 9_000))
    with pytest.raises(Unusable, match="absurd size"):
        inspect(tmp_path, IMAGE, **LIMITS)
    with (tmp_path / IMAGE).open("wb") as stream:
        stream.truncate(manifest.MAX_BYTES + 1)  # takes no room on the disk
    with pytest.raises(Unusable, match=r"absurd size: \d+ bytes"):
        inspect(tmp_path, IMAGE, **LIMITS)


@settings(deadline=None)
@given(st.integers(0, 2000), st.integers(0, 2000), st.binary(max_size=6))
def test_no_damage_goes_further_than_quarantine(tmp_path_factory, start: int, length: int, noise: bytes) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.getbasetemp() / "damage"
    content = _jpeg()
    _put(folder, IMAGE, content[:start] + noise + content[start + length :])
    try:
        row = inspect(folder, IMAGE, **LIMITS)
    except Unusable as reason:
        assert str(reason) and "\n" not in str(reason)
    else:
        assert min(row.width, row.height) >= LIMITS["min_side"]


# The file as a whole


def test_every_file_is_in_the_manifest_or_in_quarantine(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    phantom.generate(TINY, raw)
    bad = {
        _put(raw, "test/PNEUMONIA/person999_virus_1.jpeg", b""): "zero bytes",
        _put(raw, "train/NORMAL/IM-0000-0001.jpeg", b"GIF?"): "not an image",
    }
    rows, refused = _build(raw)
    assert refused == bad
    expected = "path,split,label,subtype,patient,width,height,mode,bytes,sha256"
    assert ",".join(rows[0]) == ",".join(manifest.COLUMNS) == expected
    paths = [row["path"] for row in rows]
    assert paths == sorted(paths)
    assert sorted([*paths, *refused]) == list(sources.image_paths(raw))
    for row in rows:
        with Image.open(raw / row["path"]) as image:
            assert (row["width"], row["height"], row["mode"]) == (str(image.width), str(image.height), image.mode)
        assert [row["split"], row["label"]] == row["path"].split("/")[:2]


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    phantom.generate(TINY, tmp_path / "raw")
    written = []
    for _ in range(2):
        _build(tmp_path / "raw")
        written.append((tmp_path / "manifest.csv").read_bytes())
    assert written[0] == written[1] and b"\r" not in written[0]


def test_identical_images_are_one_patient_under_the_smallest_key(tmp_path: Path) -> None:
    """b shares an image with c, c another with a: all three are a, and so is every further image of theirs."""
    raw, label = tmp_path / "raw", "train/PNEUMONIA"
    shared, further = _jpeg(seed=1), _jpeg(seed=2)
    contents = {
        "person2_virus_1": shared, "person3_virus_2": shared, "person3_virus_3": further, "person1_virus_4": further,
        "person2_virus_5": _jpeg(seed=3), "person4_virus_6": _jpeg(seed=4),
    }  # fmt: skip
    for name, content in contents.items():
        _put(raw, f"{label}/{name}.jpeg", content)
    rows, refused = _build(raw)
    assert not refused
    patients = {Path(row["path"]).stem: row["patient"] for row in rows}
    assert patients == dict.fromkeys(contents, "person1_virus") | {"person4_virus_6": "person4_virus"}


def test_a_failed_run_leaves_the_earlier_manifest(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    phantom.generate(TINY, raw)
    _build(raw)
    before = (tmp_path / "manifest.csv").read_bytes()
    _put(raw, "train/NORMAL/deep/IM-0001-0001.jpeg", _jpeg())  # a folder where an image should be
    with pytest.raises(OSError):
        _build(raw)
    assert (tmp_path / "manifest.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.csv", "quarantine.csv", "raw"]


def test_memory_hardly_grows_with_the_number_of_images(tmp_path: Path) -> None:
    """Of each image beyond those in flight at once, what is kept is a digest and a key, some 300 bytes, and no row."""
    content, peaks = _jpeg(64), {}
    for count in (600, 2400):
        raw = tmp_path / str(count) / "raw"
        for number in range(count):
            _put(raw, f"train/NORMAL/IM-{number:05}-0001.jpeg", content + number.to_bytes(4, "big"))
        tracemalloc.start()
        manifest.build(raw, raw.parent / "m.csv", raw.parent / "q.csv", **LIMITS)
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        with (raw.parent / "m.csv").open(newline="") as stream:
            assert sum(1 for _ in csv.reader(stream)) == count + 1
    assert (peaks[2400] - peaks[600]) / 1800 < 600
