"""The checks of the maps tell a good map from a bad one, pass nothing on nothing, and say what they found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import spearmanr

from pipeline.data import probes
from pipeline.data.tables import read_table
from pipeline.evaluation import bootstrap
from pipeline.evaluation.predictions import Split
from pipeline.explain import (
    check_results,
    explain_sheets,
    saliency_checks,
    saliency_metrics,
    saliency_plots,
    selection,
)
from pipeline.explain.saliency_checks import Part, Subject


@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.1, 0.5]))
def test_the_hottest_share_is_exact_and_shuffling_keeps_the_cells(cells, seed, share):
    random = np.random.default_rng(seed)
    maps = random.random((3, cells, cells)).astype(np.float32)
    where = saliency_metrics.hottest(maps, 32, share)
    assert (where.sum(axis=(1, 2)) == round(share * 32 * 32)).all()
    large = saliency_metrics.enlarge(maps, 32)
    for place in range(3):
        assert large[place][where[place]].min() >= large[place][~where[place]].max()
    again = saliency_metrics.shuffled(maps, random)
    np.testing.assert_array_equal(np.sort(again.reshape(3, -1)), np.sort(maps.reshape(3, -1)))


@given(st.integers(0, 2**32 - 1))
def test_rank_correlation_is_spearmans_and_undefined_for_a_constant_map(seed):
    random = np.random.default_rng(seed)
    maps, others = random.integers(0, 4, (2, 5, 3, 3)).astype(float)
    maps[0] = 1
    correlations = saliency_metrics.rank_correlation(maps, others)
    assert np.isnan(correlations[0])
    for place in range(1, 5):
        if np.ptp(maps[place]) and np.ptp(others[place]):
            assert correlations[place] == pytest.approx(spearmanr(maps[place].ravel(), others[place].ravel()).statistic)


@given(st.integers(8, 40), st.floats(0.03, 0.3), st.integers(0, 2**32 - 1))
def test_frame_and_middle_make_the_image(side, share, seed):
    images = np.random.default_rng(seed).integers(1, 256, (2, side, side)).astype(np.uint8)
    middle, frame = probes.without_frame(share)(images), probes.frame_alone(share)(images)
    np.testing.assert_array_equal(middle + frame, images)
    assert not ((middle > 0) & (frame > 0)).any()


def test_small_changes_are_small_and_the_same_every_time():
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16)).astype(np.uint8)
    moved = probes.SMALL_CHANGES["right_2_pixels"](images)
    np.testing.assert_array_equal(moved[:, :, 2:], images[:, :, :-2])
    np.testing.assert_array_equal(moved[:, :, 0], images[:, :, 0])
    moved = probes.SMALL_CHANGES["down_2_pixels"](images)
    np.testing.assert_array_equal(moved[:, 2:], images[:, :-2])
    grey = np.full((1, 200, 200), 100, np.uint8)
    noisy = probes.SMALL_CHANGES["noise_0.005"](grey)
    assert noisy.std() == pytest.approx(0.005 * 255, rel=0.1)
    np.testing.assert_array_equal(noisy, probes.SMALL_CHANGES["noise_0.005"](grey))


def part(pixels: np.ndarray, labels: np.ndarray, maps: np.ndarray, ask) -> Part:
    patients = [f"{'ill' if label else 'well'}{place}" for place, label in enumerate(labels)]
    split = Split(patients, labels, ["viral" if label else "normal" for label in labels], patients, ask(pixels))
    return Part("test", pixels, split, bootstrap.draw(labels, patients, 200, 0), ask(pixels), maps)


def spots(where: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Noise images; the ill ones have a bright spot at `where` of a 4 x 4 grid."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2 == 0
    pixels = random.integers(60, 100, (60, 32, 32)).astype(np.uint8)
    rows, columns = (slice(8 * place, 8 * place + 8) for place in where)
    pixels[labels, rows, columns] += 100
    return pixels, labels


def reads(where: tuple[int, int]):
    rows, columns = (slice(8 * place, 8 * place + 8) for place in where)
    return lambda images: (images[:, rows, columns].mean(axis=(1, 2)) - 120) / 10.0


def test_masking_passes_for_a_map_of_what_is_read_and_fails_for_a_map_of_something_else():
    pixels, labels = spots((1, 2))
    right, wrong = np.zeros((2, 60, 4, 4), np.float32)
    right[:, 1, 2] = 1
    wrong[:, 3, 0] = 1
    true = saliency_checks.masking(part(pixels, labels, right, reads((1, 2))), reads((1, 2)), 0.0, 0.1, 5, 0)
    false = saliency_checks.masking(part(pixels, labels, wrong, reads((1, 2))), reads((1, 2)), 0.0, 0.1, 5, 0)
    assert (true["pictures"], true["empty_maps"]) == (30, 0)
    assert true["difference_low"] > 0
    assert true["flipped_hottest"] == 1.0
    assert false["difference_high"] <= 0
    empty = saliency_checks.masking(part(pixels, labels, 0 * right, reads((1, 2))), reads((1, 2)), 0.0, 0.1, 5, 0)
    assert (empty["empty_maps"], empty["difference"]) == (30, 0.0)


@pytest.mark.parametrize(("where", "passes"), [((1, 2), True), ((0, 0), False)])
def test_the_border_test_finds_a_network_that_reads_the_corner(where, passes):
    pixels, labels = spots(where)
    validation = part(pixels, labels, np.ones((60, 4, 4)), reads(where))
    changes = {"without its frame": probes.without_frame, "frame alone": probes.frame_alone}
    rows = saliency_checks.borders(validation, reads(where), [0.05, 0.1], changes)
    assert rows[0]["auc"] == 1.0
    verdict = check_results.verdicts([random_weights(0.0)], [], rows)["border"]
    assert verdict["passes"] == passes
    frame = [row["auc"] for row in rows if row["shown"] == "frame alone"]
    assert (min(frame) > 0.9) is not passes
    assert f"{2 if passes else 0} of 2 intervals hold .5" in verdict["found"]


def random_weights(correlation: float | str, undefined: float = 0.0, constant: float = 0.0) -> dict[str, float | str]:
    """The end of a cascade, with an interval of .1 to both sides."""
    low, high = (correlation if isinstance(correlation, str) else correlation + end for end in (-0.1, 0.1))
    ends = {"correlation": correlation, "correlation_low": low, "correlation_high": high}
    return ends | {"undefined": undefined, "constant_maps": constant}


def test_constant_maps_pass_no_check_and_are_counted():
    random, labels = np.random.default_rng(0), np.arange(40) % 2 == 0
    sample = bootstrap.draw(labels, [f"{label}{place}" for place, label in enumerate(labels)], 200, 0)
    maps, others = random.random((2, 40, 4, 4))
    maps[:30] = 0
    row = saliency_checks.correlation(maps, [others], sample)
    assert (row["undefined"], row["constant_maps"]) == (0.75, 0.75)
    assert not check_results.verdicts([row], [], [])["randomisation"]["passes"]
    assert (
        "75.0% of the trained network's own maps are constant"
        in check_results.verdicts([row], [], [])["randomisation"]["found"]
    )
    row = saliency_checks.correlation(np.zeros_like(maps), [others, others], sample)
    assert (row["correlation"], row["undefined"]) == ("undefined", 1.0)
    assert not check_results.verdicts([row], [], [])["randomisation"]["passes"]
    # A map of random weights that is constant agrees with none; the trained maps, all different here, do have something.
    maps[:30] = random.random((30, 4, 4))
    others[:4] = 0
    row = saliency_checks.correlation(maps, [others], sample)
    assert (row["undefined"], row["constant_maps"]) == (0.1, 0.0)
    assert check_results.verdicts([random_weights(0.0, 0.1)], [], [])["randomisation"]["passes"]
    assert not check_results.verdicts([random_weights(0.15)], [], [])["randomisation"]["passes"]


def test_a_verdict_tells_what_was_asked_and_what_was_found():
    bordered = [
        {"split": split, "shown": "frame alone", "auc": auc, "auc_low": auc - 0.05, "auc_high": auc + 0.05}
        for split, auc in (("validation", 0.63), ("validation", 0.731), ("test", 0.67), ("test", 0.54))
    ]
    masked = [
        {"split": "validation", "pictures": 9, "difference": 1.3, "difference_low": 0.99, "difference_high": 1.6},
        {"split": "test", "pictures": 0},
    ]
    verdicts = check_results.verdicts([random_weights(-0.014)], masked, bordered)
    assert {name: row["passes"] for name, row in verdicts.items()} == {
        "randomisation": True,
        "masking": False,
        "border": False,
    }
    assert "AUC of the frame alone .630 to .731 on validation, .540 to .670 on test; 1 of 4 intervals hold .5." in (
        check_results.sentence(verdicts["border"])
    )
    assert "1.300 (.990 to 1.600) logits on validation, undefined on test" in verdicts["masking"]["found"]
    assert "rank correlation -.014 (-.114 to .086)" in verdicts["randomisation"]["found"]
    assert all(check_results.sentence(row).startswith("Asked: ") for row in verdicts.values())


def test_flips_are_counted_per_thousand():
    pixels, labels = spots((1, 2))
    validation = part(pixels, labels, np.ones((60, 4, 4)), reads((1, 2)))
    rows = saliency_checks.stress(
        validation, reads((1, 2)), {"dark": lambda images: images // 2}, {"plain": 0.0, "sensitive": None}
    )
    assert [row["change"] for row in rows] == ["none", "dark"]
    assert rows[0]["plain_flips_per_thousand"] == 0
    assert rows[1]["plain_flips_per_thousand"] == 500  # every ill image, no healthy one
    assert (rows[1]["auc"], rows[1]["plain_sensitivity"], rows[1]["plain_specificity"]) == (1.0, 0.0, 1.0)


def test_what_is_shown_is_chosen_by_what_was_said():
    labels = np.array([True, True, False, False, True])
    logits = np.array([5.0, -4.0, -3.0, 2.0, 0.1])
    chosen = selection.notable(labels, logits, 0.0, 2)
    assert chosen["right, furthest from the threshold"].tolist() == [2, 0]
    assert chosen["wrong, furthest from the threshold"].tolist() == [1, 3]
    assert chosen["the others nearest to the threshold"].tolist() == [4]


@given(st.lists(st.tuples(st.booleans(), st.floats(-5, 5)), max_size=40), st.integers(0, 8))
def test_no_image_is_shown_twice(said, each):
    labels, logits = np.array([label for label, _ in said], dtype=bool), np.array([logit for _, logit in said])
    shown = np.concatenate(list(selection.notable(labels, logits, 0.0, each).values()))
    assert len(set(shown.tolist())) == len(shown)


def test_all_maps_have_one_scale_so_that_a_healthy_ones_stays_dark(tmp_path):
    pixels = np.full((2, 32, 32), 120, np.uint8)
    maps = np.zeros((2, 4, 4))
    maps[0, 1, 2], maps[1, 1, 2] = 4.0, 0.04  # one of 100 times the evidence
    test_part = part(pixels, np.array([False, True]), maps, lambda images: np.array([1.0, -1.0]))
    explain_sheets.gallery(
        tmp_path / "gallery",
        Subject("run", {}, lambda images: test_part.logits, {"test": test_part}, {"plain": 0.0}, 4.0),
    )
    rows = read_table(tmp_path / "gallery" / "gallery.csv")
    apart = {}
    for row in rows:
        with Image.open(tmp_path / "gallery" / row["file"]) as drawn:
            halves = np.split(np.asarray(drawn.convert("RGB")).astype(int), 2, axis=1)
        apart[row["patient"]] = np.abs(halves[1] - halves[0]).max()
    assert apart["well0"] > 60
    assert apart["ill1"] < 8
    np.testing.assert_array_equal(
        saliency_plots.overlay(pixels[0], 0 * maps[0], 4.0), np.repeat(pixels[0][..., None], 3, axis=2)
    )


def test_a_network_that_learned_nothing_passes_no_check():
    nothing = "undefined"
    masked = [{"split": "test", "pictures": 10, **{f"difference{end}": nothing for end in ("", "_low", "_high")}}]
    bordered = [{"split": "test", "shown": "frame alone", **{f"auc{end}": nothing for end in ("", "_low", "_high")}}]
    verdicts = check_results.verdicts([random_weights(nothing, 1.0, 1.0)], masked, bordered)
    assert not any(row["passes"] for row in verdicts.values())


def test_nothing_that_was_measured_passes_no_check():
    verdicts = check_results.verdicts([random_weights("undefined", 1.0)], [], [])
    assert not any(row["passes"] for row in verdicts.values())
