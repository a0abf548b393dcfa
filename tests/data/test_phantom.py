"""Generated radiographs: named and shared out as the real set, a chest to look at, learnable but not by brightness."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipeline.data import phantom, sources
from pipeline.data.manifest import patient_of
from pipeline.settings import Phantom

SMALL = Phantom(seed=3, train=300, val=8, test=150)
totals = st.integers(min_value=2, max_value=400)


@settings(deadline=None)
@given(train=totals, val=totals, test=totals)
def test_every_set_has_both_classes_and_no_patient_in_two_splits(train: int, val: int, test: int) -> None:
    wanted = Phantom(seed=0, train=train, val=val, test=test)
    paths = list(phantom.names(wanted))
    assert len(set(paths)) == len(paths) == train + val + test
    assert Counter(path.rsplit("/", 1)[0] for path in paths) == phantom.counts(wanted)
    assert min(phantom.counts(wanted).values()) >= 1
    splits: dict[str, set[str]] = {}
    for path in paths:
        split, label, name = path.split("/")
        patient, subtype = patient_of(name)
        assert (subtype == "normal") == (label == "NORMAL")
        splits.setdefault(patient, set()).add(split)
    assert all(len(parts) == 1 for parts in splits.values())


def test_the_published_sizes_give_the_published_counts() -> None:
    assert phantom.counts(Phantom(seed=0, train=5216, val=16, test=624)) == sources.PUBLISHED


def test_a_image_follows_from_the_seed_and_its_name_alone() -> None:
    few, more = (set(phantom.names(Phantom(seed=5, train=n, val=4, test=8))) for n in (40, 80))
    assert few <= more
    path = min(few)
    first, again, other = (np.asarray(phantom.radiograph(seed, path)) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_generate_writes_the_same_bytes_twice(tmp_path: Path) -> None:
    wanted = Phantom(seed=1, train=6, val=2, test=4)
    for folder in ("a", "b"):
        phantom.generate(wanted, tmp_path / folder)
    written = list(sources.image_paths(tmp_path / "a"))
    assert written == sorted(phantom.names(wanted))
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in written)


@pytest.fixture(scope="module")
def drawn() -> dict[str, Image.Image]:
    return {path: phantom.radiograph(SMALL.seed, path) for path in phantom.names(SMALL)}


def test_sizes_and_modes_are_mixed(drawn: dict[str, Image.Image]) -> None:
    low, high = phantom.SIDES
    assert len({image.size for image in drawn.values()}) > 100
    assert all(low <= image.width <= high and image.width >= image.height for image in drawn.values())
    assert {image.mode for image in drawn.values()} == {"L", "RGB"}


def test_neither_brightness_nor_contrast_nor_size_tells_the_classes_apart(drawn: dict[str, Image.Image]) -> None:
    ill = ["PNEUMONIA" in path for path in drawn]
    grey = [np.asarray(image.convert("L"), dtype=float) for image in drawn.values()]
    for values in ([a.mean() for a in grey], [a.std() for a in grey], [a.size for a in grey]):
        assert 0.4 < roc_auc_score(ill, values) < 0.6


def test_the_findings_can_be_learnt_from_images_of_other_patients(drawn: dict[str, Image.Image]) -> None:
    pixels = np.stack([np.asarray(image.convert("L").resize((24, 24)), dtype=float) for image in drawn.values()])
    pixels = (pixels.reshape(len(pixels), -1) - 128) / 64
    ill = np.array(["PNEUMONIA" in path for path in drawn])
    test = np.array([path.startswith("test/") for path in drawn])
    model = LogisticRegression(C=0.01, max_iter=500).fit(pixels[~test], ill[~test])
    assert roc_auc_score(ill[test], model.decision_function(pixels[test])) > 0.85


def test_images_show_a_chest(drawn: dict[str, Image.Image]) -> None:
    """Dark lungs beside a bright spine, the heart on the patient's left, a bright belly, black air outside."""
    healthy = [image for path, image in drawn.items() if "/NORMAL/" in path]
    mean = np.mean([np.asarray(image.convert("L").resize((100, 100)), dtype=float) for image in healthy], axis=0)
    spine, right, left = mean[20:55, 48:52].mean(), mean[30:55, 28:38].mean(), mean[30:55, 64:74].mean()
    belly, air = mean[85:95, 30:70].mean(), mean[60:90, :3].mean()
    assert min(spine, belly) > max(right, left) + 40
    assert air < min(right, left)
    assert mean[58:66, 58:63].mean() > mean[58:66, 37:42].mean() + 10  # the heart


def test_images_of_a_patient_share_one_anatomy(drawn: dict[str, Image.Image]) -> None:
    families: dict[str, list[np.ndarray]] = {}
    for path, image in drawn.items():
        if "virus" in path:
            small = np.asarray(image.convert("L").resize((48, 48)), dtype=float).ravel()
            families.setdefault(patient_of(path.rsplit("/", 1)[-1])[0], []).append(small)
    pairs = [family[:2] for family in families.values() if len(family) > 1]
    mine = np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])
    others = np.mean([np.corrcoef(pairs[i][0], pairs[i - 1][1])[0, 1] for i in range(len(pairs))])
    assert mine > others
