"""The input check: frontal chest radiographs in, all else out."""

import numpy as np
import pytest

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.input_check import fit, guard, ood_negatives, variations

OF_CHAMPIONS = {
    "custom_cnn-balanced-0-39ce539e": ["0x1.126ca6992bc50p+3", "0x1.badb296c59f18p+1", "0x1.8ed6613640ec5p+2"],
    "custom_cnn-balanced-2-239b5a0e": ["0x1.126ca6992bc1ep+3", "0x1.badb296c59f5bp+1", "0x1.8ed6613640eb9p+2"],
    "densenet121-robust-0-d78f8887": ["0x1.126ca6992bc1ep+3", "0x1.badb296c59f5bp+1", "0x1.8ed6613640eb9p+2"],
}


def lungs(count: int, side: int, seed: int) -> np.ndarray:
    """Bodies with two dark fields that widen downwards over a bright belly, uint8 [count, side, side]: chests enough."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    images = []
    for _ in range(count):
        left, right, wide, tall, height = random.normal([-0.45, 0.45, 0.3, 0.65, 0], [0.04, 0.04, 0.03, 0.05, 0.05])
        field = 180 * np.exp(-((np.abs(columns) / 0.95) ** 8))
        for middle in (left, right):
            inside = ((columns - middle) / (wide * (1 + 0.4 * rows))) ** 2 + ((rows - height) / tall) ** 2
            field -= random.uniform(100, 130) / (1 + np.exp(8 * (inside - 1)))
        field += 60 / (1 + np.exp(-12 * (rows - 0.7)))
        images.append(field + random.normal(0, 6, field.shape))
    return np.rint(np.stack(images).clip(0, 255)).astype(np.uint8)


def edges(images: np.ndarray) -> np.ndarray:
    """A network's stand-in: how strong the edges are, at three scales, along rows and columns; float32 [n, 48]."""
    parts = []
    for step in (1, 2, 4):
        coarse = images[:, ::step, ::step].astype(float)
        for axis in (1, 2):
            strength = np.abs(np.diff(coarse, axis=axis)).mean(axis=axis)
            parts += [part.mean(axis=1) for part in np.array_split(strength, 8, axis=1)]
    return np.log1p(np.stack(parts, axis=1)).astype(np.float32)


def ask(images: np.ndarray, what: str = "") -> fit.Seen:
    return fit.seen(images, edges(images))


VALIDATION = lungs(400, 64, 1)
PATIENTS = np.arange(400) // 2  # two images each


def validation() -> fit.Validation:
    return fit.Validation(ask(VALIDATION), PATIENTS)


@pytest.fixture(scope="module")
def material() -> fit.Material:
    return fit.gather(lungs(150, 64, 0), ask, seed=0)


@pytest.fixture(scope="module")
def fitted(material: fit.Material) -> guard.Guard:
    return fit.fit(material, validation())


def rejected(check: guard.Guard, images: np.ndarray) -> np.ndarray:
    return guard.scores(check, images, edges(images)) > check["threshold"]


def test_at_most_one_percent_of_the_validation_patients_is_rejected_and_five_of_the_images_warned_of(
    fitted: guard.Guard,
) -> None:
    scores = guard.scores(fitted, VALIDATION, edges(VALIDATION))
    worst = scores.reshape(200, 2).max(axis=1)
    assert fit.patients_rejected(fitted, validation()) == np.mean(worst > fitted["threshold"]) == 0.005
    assert np.mean(scores > fitted["unlike"]) == pytest.approx(0.05)


def test_new_radiographs_are_accepted(fitted: guard.Guard) -> None:
    assert np.mean(rejected(fitted, lungs(200, 64, 2))) <= 0.05


@pytest.mark.parametrize("kind", ood_negatives.KINDS)
def test_made_up_negatives_are_rejected(fitted: guard.Guard, kind: str) -> None:
    images = ood_negatives.make(kind, 30, lungs(30, 64, 3), seed=9)
    assert images.shape == (30, 64, 64) and images.dtype == np.uint8
    # A lung without ribs and half of it are too alike for edges alone: the real network is measured by the benchmark.
    assert np.mean(rejected(fitted, images)) >= (0.5 if kind in ("hemithorax", "cropped", "lateral") else 0.8)


@pytest.mark.parametrize("change", variations.CHANGES)
def test_variations_keep_size_and_type_and_change_something(change: str) -> None:
    before = lungs(4, 64, 5)
    random = np.random.default_rng(0)
    after = np.stack([variations.CHANGES[change](random, image) for image in before])
    assert after.shape == before.shape and after.dtype == np.uint8
    assert (after != before).any()


def test_one_image_is_judged_as_it_scores_among_others(fitted: guard.Guard) -> None:
    images = lungs(3, 64, 4)
    judged = guard.judge(fitted, images[1], edges(images)[1])
    assert judged.score == pytest.approx(guard.scores(fitted, images, edges(images))[1])
    assert judged.limit == fitted["threshold"] and judged.unlike == fitted["unlike"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda image: np.rot90(image, 2), "turned"),
        (np.rot90, "turned"),
        (lambda image: 255 - image, "negative"),
    ],
)
def test_a_rejection_says_score_limit_and_the_nearest_reason(fitted: guard.Guard, changed, reason: str) -> None:
    images = np.stack([changed(image) for image in lungs(20, 64, 6)])
    judged = [guard.judge(fitted, image, features) for image, features in zip(images, edges(images), strict=True)]
    assert all(each.rejected for each in judged)
    assert np.mean([each.reason == reason for each in judged]) >= 0.8
    named = next(each for each in judged if each.reason == reason)
    assert named.said.startswith("not recognised as a frontal chest radiograph (score ")
    assert f"limit {named.limit:.2f}; nearest reason: {reason})" in named.said


def test_between_accept_and_reject_lies_a_warning(fitted: guard.Guard) -> None:
    """The three answers of one image, by where its score lies: the limits are moved, the score stays."""
    image = lungs(1, 64, 7)[0]
    features = edges(image[None])[0]
    score = guard.judge(fitted, image, features).score
    said = {}
    for name, unlike, limit in (("fine", 1, 2), ("band", -1, 1), ("out", -2, -1)):
        moved = fitted | {"unlike": np.array(score + unlike), "threshold": np.array(score + limit)}
        said[name] = guard.judge(moved, image, features).said
    assert said["fine"] == "" and said["band"].startswith("unlike the training images (score ")
    assert said["out"].startswith("not recognised")


def test_exposure_does_not_change_the_layout(fitted: guard.Guard) -> None:
    images = lungs(50, 64, 5)
    darker = np.rint(images * 0.6 + 10).astype(np.uint8)
    before, after = (guard.layout(fitted["upright"], guard.ranks(each)) for each in (images, darker))
    assert np.abs(before - after).max() < 0.2


def test_same_seed_same_guard() -> None:
    few = lungs(20, 32, 0)
    first, second = (
        fit.fit(fit.gather(few, ask, seed=3), fit.Validation(ask(few), np.arange(len(few)))) for _ in range(2)
    )
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_it_survives_the_file(fitted: guard.Guard, tmp_path) -> None:
    np.savez(tmp_path / "guard.npz", **fitted)
    image = lungs(1, 64, 6)
    loaded = guard.load(tmp_path / "guard.npz")
    assert guard.judge(loaded, image[0], edges(image)[0]) == guard.judge(fitted, image[0], edges(image)[0])


def test_a_missing_or_broken_file_is_named(tmp_path, fitted: guard.Guard) -> None:
    with pytest.raises(ProjectError, match=r"guard\.npz is missing"):
        guard.load(tmp_path / "guard.npz")
    (tmp_path / "guard.npz").write_bytes(b"nonsense")
    with pytest.raises(ProjectError, match="no input guard"):
        guard.load(tmp_path / "guard.npz")
    np.savez(tmp_path / "guard.npz", **{key: value for key, value in fitted.items() if key != "weights"})
    with pytest.raises(ProjectError, match="no input guard"):
        guard.load(tmp_path / "guard.npz")


def test_a_graph_without_features_is_told(fitted: guard.Guard) -> None:
    with pytest.raises(ProjectError, match="features"):
        guard.judge(fitted, VALIDATION[0], None)


@pytest.mark.slow
def test_kinds_left_out_of_the_fit_are_reported_one_by_one(material: fit.Material) -> None:
    asked = fit.ask_negatives(VALIDATION, ask, seed=0)
    accepted = fit.left_out(material, validation(), {kind: asked[kind] for kind in ("text", "turned", "negative")})
    assert list(accepted) == ["text", "turned", "negative"]
    assert max(accepted.values()) <= 0.15  # of a stand-in for a network


def test_the_guards_of_committed_champions_score_as_they_always_did() -> None:
    """Moved or rewritten code must give the champions in git the scores that they were released with: 0.1.0's, in hex."""
    rows, columns = np.mgrid[0:128, 0:128]
    images = np.stack([(rows * step + columns * (step + 2)) % 256 for step in (1, 2, 3)]).astype(np.uint8)
    for name, expected in OF_CHAMPIONS.items():
        scores = guard.scores(guard.load(paths.ROOT / "models" / "champions" / name / "guard.npz"), images, None)
        np.testing.assert_allclose(scores, [float.fromhex(number) for number in expected], rtol=1e-12)
