"""The input guard: radiographs in, strangers out."""

import numpy as np
import pytest

from pipeline.errors import ProjectError
from pipeline.serving import guard, strangers


def lungs(count: int, side: int, seed: int) -> np.ndarray:
    """Bodies with two dark fields that widen downwards over a bright belly, uint8 [count, side, side]: chests enough."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    pictures = []
    for _ in range(count):
        left, right, wide, tall, height = random.normal([-0.45, 0.45, 0.3, 0.65, 0], [0.04, 0.04, 0.03, 0.05, 0.05])
        field = 180 * np.exp(-((np.abs(columns) / 0.95) ** 8))
        for middle in (left, right):
            inside = ((columns - middle) / (wide * (1 + 0.4 * rows))) ** 2 + ((rows - height) / tall) ** 2
            field -= random.uniform(100, 130) / (1 + np.exp(8 * (inside - 1)))
        field += 60 / (1 + np.exp(-12 * (rows - 0.7)))
        pictures.append(field + random.normal(0, 6, field.shape))
    return np.rint(np.stack(pictures).clip(0, 255)).astype(np.uint8)


@pytest.fixture(scope="module")
def fitted() -> guard.Guard:
    return guard.calibrate(guard.fit(lungs(400, 48, 0), seed=0), lungs(200, 48, 1))


def test_the_threshold_refuses_half_a_percent_of_the_validation_pictures(fitted: guard.Guard) -> None:
    assert np.mean(guard.scores(fitted, lungs(200, 48, 1)) > fitted["threshold"]) == pytest.approx(0.005)


def test_new_radiographs_are_accepted(fitted: guard.Guard) -> None:
    assert np.mean(guard.scores(fitted, lungs(200, 48, 2)) > fitted["threshold"]) <= 0.05


@pytest.mark.parametrize("kind", strangers.KINDS)
def test_strangers_are_refused(fitted: guard.Guard, kind: str) -> None:
    pictures = strangers.make(kind, 30, lungs(30, 48, 3), seed=9)
    assert pictures.shape == (30, 48, 48)
    assert np.mean(guard.scores(fitted, pictures) > fitted["threshold"]) >= 0.8


def test_one_picture_scores_as_it_does_among_others(fitted: guard.Guard) -> None:
    pictures = lungs(3, 48, 4)
    assert guard.score(fitted, pictures[1]) == pytest.approx(guard.scores(fitted, pictures)[1])


def test_exposure_does_not_matter(fitted: guard.Guard) -> None:
    darker = np.rint(lungs(50, 48, 5) * 0.6 + 10).astype(np.uint8)
    assert np.mean(guard.scores(fitted, darker) > fitted["threshold"]) <= 0.06


def test_same_seed_same_guard() -> None:
    first, second = (guard.fit(lungs(120, 32, 0), seed=3) for _ in range(2))
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_it_survives_the_file(fitted: guard.Guard, tmp_path) -> None:
    np.savez(tmp_path / "guard.npz", **fitted)
    picture = lungs(1, 48, 6)[0]
    assert guard.score(guard.load(tmp_path / "guard.npz"), picture) == guard.score(fitted, picture)


def test_a_missing_or_broken_file_is_named(tmp_path) -> None:
    with pytest.raises(ProjectError, match=r"guard\.npz is missing"):
        guard.load(tmp_path / "guard.npz")
    (tmp_path / "guard.npz").write_bytes(b"nonsense")
    with pytest.raises(ProjectError, match="no input guard"):
        guard.load(tmp_path / "guard.npz")


@pytest.mark.slow
def test_kinds_left_out_of_the_fit_are_reported_one_by_one() -> None:
    accepted = guard.left_out(lungs(300, 48, 0), lungs(200, 48, 1), seed=0)
    assert list(accepted) == list(strangers.KINDS)
    assert all(0 <= share <= 1 for share in accepted.values())
    assert accepted["text"] <= 0.2
