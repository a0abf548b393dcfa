"""Exploration: the sums are numpy's, the figures follow from the images, and generated ones are named as such."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.data.summary import Counts, Moments
from pipeline.data.tables import read_table, write_table

HOME = Path(__file__).resolve().parents[2]
COLUMNS = ["path", "split", "label", "subtype", "patient", "width", "height", "mode", "bytes", "sha256"]


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_moments_are_those_of_the_whole_stack(images, seed):
    stack = np.random.default_rng(seed).integers(0, 256, (images, 5, 5)).astype(np.uint8)
    moments = Moments(5)
    for image in stack:
        moments.add(image)
    np.testing.assert_allclose(moments.mean, stack.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(moments.deviation(), stack.std(axis=0), atol=1e-6)


@given(st.lists(st.floats(-5, 15), max_size=50))
def test_counts_lose_no_value_and_agree_with_numpy_inside(values):
    edges = np.linspace(0, 10, 6)
    counts = Counts(edges)
    for value in values:
        counts.add(value)
    assert counts.counts.sum() == len(values)
    clipped = np.clip(values, 0, np.nextafter(10, 0))
    np.testing.assert_array_equal(counts.counts, np.histogram(clipped, edges)[0])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Twelve flat images in train, four in test: normal ones are dark, pneumonia ones bright, test ones white."""
    root = tmp_path_factory.mktemp("root")
    settings = (HOME / "params.yaml").read_text().replace("image_size: 128", "image_size: 94")
    (root / "params.yaml").write_text(settings.replace("samples: 16", "samples: 3"))
    rows = []
    for split, each in (("train", 6), ("test", 2)):
        for label, subtype, grey in (("NORMAL", "normal", 60), ("PNEUMONIA", "viral", 160)):
            folder = root / "data" / "raw" / split / label
            folder.mkdir(parents=True)
            for number in range(each if label == "NORMAL" else each + 1):
                path = folder / f"{subtype}-{number}.jpeg"
                Image.new("L", (40 + number, 50), 255 if split == "test" else grey + number).save(path, quality=95)
                facts = (split, label, subtype, f"{split}-{subtype}-{number // 2}", 40 + number, 50, "L")
                name = path.relative_to(root / "data" / "raw").as_posix()
                rows.append(dict(zip(COLUMNS, (name, *facts, path.stat().st_size, "0"), strict=True)))
    write_table(root / "data" / "manifest" / "manifest.csv", COLUMNS, sorted(rows, key=lambda row: row["path"]))
    (root / "data" / "dataset.json").write_text(json.dumps({"dataset": "phantom", "edition": "phantom"}))
    return root


def explore(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.stages.explore"],
        cwd=HOME,
        env={**os.environ, "PIPELINE_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def explored(root):
    done = explore(root)
    assert done.returncode == 0, done.stderr
    return root / "plots" / "exploration"


def test_every_figure_is_drawn_and_names_generated_images(explored, root):
    names = ["classes", "means", "difference", "deviations", "sizes", "intensities"]
    assert sorted(path.name for path in explored.iterdir()) == sorted(
        ["counts.csv", *(f"{name}.svg" for name in names)]
    )
    for name in names:
        assert "GENERATED RADIOGRAPHS" in (explored / f"{name}.svg").read_text()
    for label in ("normal", "pneumonia"):
        with Image.open(root / "reports" / "figures" / f"samples_{label}.png") as sheet:
            assert min(sheet.size) > 300


def test_counts_and_ratio_are_those_of_the_manifest(explored):
    rows = {(row["split"], row["subtype"]): row for row in read_table(explored / "counts.csv")}
    assert {key: (row["pictures"], row["patients"]) for key, row in rows.items()} == {
        ("train", "normal"): ("6", "3"),
        ("train", "viral"): ("7", "4"),
        ("test", "normal"): ("2", "1"),
        ("test", "viral"): ("3", "2"),
    }
    assert "7 / 6 = 1.167" in (explored / "classes.svg").read_text()


def test_the_official_test_images_are_counted_but_not_looked_at(explored, root):
    before = {path.name: path.read_bytes() for path in explored.iterdir()}
    for path in (root / "data" / "raw" / "test").rglob("*.jpeg"):
        path.write_bytes(b"nobody may decode this")
    assert explore(root).returncode == 0
    assert {path.name: path.read_bytes() for path in explored.iterdir()} == before


def test_without_a_manifest_it_says_what_to_do(tmp_path, root):
    (tmp_path / "params.yaml").write_bytes((root / "params.yaml").read_bytes())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset.json").write_bytes((root / "data" / "dataset.json").read_bytes())
    done = explore(tmp_path)
    assert done.returncode == 1
    assert "manifest.csv is missing; run `make repro`" in done.stderr.splitlines()[-1]
