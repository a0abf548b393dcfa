"""No image enters git whatever its file is called: every format, as it is and wrapped in what may hold it."""

import base64
import bz2
import gzip
import io
import json
import lzma
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file

from pipeline import paths
from pipeline.ci import no_images
from pipeline.ci.image_content import kind
from tests.retraining_fixture import git

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)
PILLOW = ["JPEG", "PNG", "GIF", "TIFF", "WebP", "JPEG2000", "BMP", "PPM", "AVIF"]


def encoded(name="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, format=name, **options)
    return stream.getvalue()


def array(values, save=np.save):
    stream = io.BytesIO()
    save(stream, values)
    return stream.getvalue()


def zipped(data):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.md", "nothing to see")
        archive.writestr("notes.txt", data)
    return stream.getvalue()


def tarred(data):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("notes.txt")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def lines(data):
    return base64.encodebytes(data).decode()


def plain(data):
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("name", PILLOW)
def test_every_format_that_pillow_writes(name):
    assert kind(encoded(name))


def test_a_raw_jpeg_2000_codestream_and_a_big_endian_tiff():
    assert kind(encoded("JPEG2000", no_jp2=True)) == "JPEG 2000"
    assert kind(encoded("TIFF", big_tiff=True)) == "TIFF"
    assert kind(b"MM\0*" + bytes(100)) == "TIFF"


@pytest.mark.parametrize(
    ("name", "preamble"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", True),
        ("JPEG2000.dcm", True),
        ("ExplVR_LitEndNoMeta.dcm", False),
        ("ExplVR_BigEndNoMeta.dcm", False),
        ("rtplan_truncated.dcm", True),
        ("image_dfl.dcm", True),
    ],
)
def test_dicom_with_and_without_its_preamble(name, preamble):
    data = Path(get_testdata_file(name)).read_bytes()
    assert (data[128:132] == b"DICM") == preamble
    assert kind(data) == "DICOM"
    if preamble:
        assert kind(data[132:]) == "DICOM", "its meta information first"


@pytest.mark.parametrize(
    "values",
    [
        PIXELS,
        PIXELS.ravel(),
        PIXELS[None],
        PIXELS.astype(np.uint16),
        PIXELS / np.float32(255),
        PIXELS[None, :, :, None].astype(np.float64),
        PIXELS.astype(np.float16).T,
        PIXELS.astype(np.int32),
        np.array([PIXELS, None], dtype=object),
    ],
    ids=lambda values: f"{values.dtype} {values.shape}",
)
def test_arrays_of_images(values):
    assert "array" in kind(array(values))
    assert "array" in kind(array(values, np.savez_compressed))


@pytest.mark.parametrize(
    "values", [np.zeros(3000), np.zeros((3000, 2)), np.arange(5000), np.zeros((8, 8)), np.array("words")]
)
def test_arrays_of_other_numbers(values):
    assert kind(array(values)) is None
    assert kind(array(values, np.savez)) is None


WRAPPED = {
    "zip": zipped,
    "tar": tarred,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "tar.gz": lambda data: gzip.compress(tarred(data)),
    "zip in a zip": lambda data: zipped(zipped(data)),
    "HTML": lambda data: f"<p>é</p><img src='data:image/png;base64,{plain(data)}'>".encode(),
    "HTML that hides the type": lambda data: f"<a href='data:text/plain;base64,{plain(data)}'>".encode(),
    "SVG": lambda data: f'<svg><image xlink:href="data:image/png;base64,\n{lines(data)}"/></svg>'.encode(),
    "SVG in HTML": lambda data: f"<img src='data:image/svg+xml;base64,{plain(WRAPPED['SVG'](data))}'>".encode(),
    "Markdown": lambda data: f"# Radiograph\n\n![radiograph](data:image/jpeg;base64,{plain(data)})\n".encode(),
    "JSON": lambda data: json.dumps({"url": f"data:image/png;base64,{plain(data)}"}).replace("/", "\\/").encode(),
    "notebook": lambda data: json.dumps({"image/png": lines(data)}).encode(),
    "HTML in a zip": lambda data: zipped(WRAPPED["HTML"](data)),
}


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("data", [encoded("JPEG"), encoded("PNG"), array(PIXELS)], ids=["JPEG", "PNG", "npy"])
def test_wrapped(wrap, data):
    inner = kind(data)
    assert kind(WRAPPED[wrap](data)).endswith(f" > {inner}")
    assert kind(WRAPPED[wrap](b"only words, many of them; " * 100)) is None


def test_what_cannot_be_looked_into_is_named():
    locked = bytearray(zipped(encoded()))
    for start in (b"PK\x03\x04", b"PK\x01\x02"):  # the flag that says "encrypted", in both places of the last member
        place = locked.rfind(start)
        locked[place + (6 if start.endswith(b"\x04") else 8)] |= 1
    deep = encoded()
    for _ in range(6):
        deep = gzip.compress(deep)
    assert "cannot be read" in kind(bytes(locked))
    assert "cannot be read" in kind(zipped(encoded())[:200])
    assert "cannot be read" in kind(b"\x93NUMPY\x09\x00")
    assert "nested too deeply" in kind(deep)


TAR = bytes(257) + b"ustar"
STARTS = (b"", b"\x93NUMPY", b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", TAR, b"\x08\x00\x05\x00")


@given(st.one_of(st.binary(max_size=2000), st.text(max_size=500).map(str.encode)))
def test_any_bytes_get_an_answer(data):
    for start in STARTS:
        assert isinstance(kind(start + data), str | None)


def test_the_code_and_the_results_are_no_images():
    names = [
        name for name in git(paths.ROOT, "ls-files", "-z").split("\0") if name.endswith((".py", ".csv", ".h5", ".onnx"))
    ]
    assert len(names) > 300
    assert not [name for name in names if (paths.ROOT / name).is_file() and kind((paths.ROOT / name).read_bytes())]


def test_what_is_allowed_has_a_reason_and_is_there():
    tracked = git(paths.ROOT, "ls-files", "-z").split("\0")
    for pattern, reason in no_images.ALLOWED.items():
        matching = [name for name in tracked if no_images.fnmatch.fnmatchcase(name, pattern)]
        assert any(kind((paths.ROOT / name).read_bytes()) for name in matching), f"{pattern} allows nothing any more"
        assert reason


def test_the_hook_stops_a_commit(tmp_path):
    git(tmp_path, "init", "-q")
    shutil.copy(paths.ROOT / ".pre-commit-config.yaml", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "pipeline").symlink_to(paths.ROOT / "pipeline")
    (tmp_path / "notes.txt").write_text("words\n")
    git(tmp_path, "add", "notes.txt", ".pre-commit-config.yaml")
    hook = [sys.executable, "-m", "pre_commit", "run", "no-images"]
    done = subprocess.run(hook, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "notes.txt").write_bytes(encoded("JPEG"))
    git(tmp_path, "add", "notes.txt")
    done = subprocess.run(hook, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no-images: radiographs are outputs outside git: notes.txt (JPEG); where no patient is shown" in done.stdout
