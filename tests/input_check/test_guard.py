"""The input guard: radiographs in, all else out."""

import numpy as np
import pytest

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.input_check import fit, guard, ood_negatives

OF_CHAMPIONS = {
    "custom_cnn-balanced-0-39ce539e": ["0x1.126ca6992bc50p+3", "0x1.badb296c59f18p+1", "0x1.8ed6613640ec5p+2"],
    "custom_cnn-balanced-2-239b5a0e": ["0x1.126ca6992bc1ep+3", "0x1.badb296c59f5bp+1", "0x1.8ed6613640eb9p+2"],
    "densenet121-robust-0-d78f8887": ["0x1.126ca6992bc1ep+3", "0x1.badb296c59f5bp+1", "0x1.8ed6613640eb9p+2"],
}


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
    return fit.calibrate(fit.fit(lungs(400, 48, 0), seed=0), lungs(200, 48, 1))


def test_the_threshold_refuses_half_a_percent_of_the_validation_pictures(fitted: guard.Guard) -> None:
    assert np.mean(guard.scores(fitted, lungs(200, 48, 1)) > fitted["threshold"]) == pytest.approx(0.005)


def test_new_radiographs_are_accepted(fitted: guard.Guard) -> None:
    assert np.mean(guard.scores(fitted, lungs(200, 48, 2)) > fitted["threshold"]) <= 0.05


@pytest.mark.parametrize("kind", ood_negatives.KINDS)
def test_made_up_negatives_are_refused(fitted: guard.Guard, kind: str) -> None:
    pictures = ood_negatives.make(kind, 30, lungs(30, 48, 3), seed=9)
    assert pictures.shape == (30, 48, 48)
    assert np.mean(guard.scores(fitted, pictures) > fitted["threshold"]) >= 0.8


def test_one_picture_scores_as_it_does_among_others(fitted: guard.Guard) -> None:
    pictures = lungs(3, 48, 4)
    assert guard.score(fitted, pictures[1]) == pytest.approx(guard.scores(fitted, pictures)[1])


def test_exposure_does_not_matter(fitted: guard.Guard) -> None:
    darker = np.rint(lungs(50, 48, 5) * 0.6 + 10).astype(np.uint8)
    assert np.mean(guard.scores(fitted, darker) > fitted["threshold"]) <= 0.06


def test_same_seed_same_guard() -> None:
    first, second = (fit.fit(lungs(120, 32, 0), seed=3) for _ in range(2))
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
    accepted = fit.left_out(lungs(300, 48, 0), lungs(200, 48, 1), seed=0)
    assert list(accepted) == list(ood_negatives.KINDS)
    assert all(0 <= share <= 1 for share in accepted.values())
    assert accepted["text"] <= 0.2


def test_the_guards_of_committed_champions_score_as_they_always_did() -> None:
    """Moved or rewritten code must give the champions in git the scores that they were released with: 0.1.0's, in hex."""
    rows, columns = np.mgrid[0:128, 0:128]
    pictures = np.stack([(rows * step + columns * (step + 2)) % 256 for step in (1, 2, 3)]).astype(np.uint8)
    for name, expected in OF_CHAMPIONS.items():
        found = guard.scores(guard.load(paths.ROOT / "models" / "champions" / name / "guard.npz"), pictures)
        np.testing.assert_allclose(found, [float.fromhex(number) for number in expected], rtol=1e-12)
