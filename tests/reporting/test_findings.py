"""The study's findings beside ours: what the rule answers, and against whom the best run is set."""

import pytest

from pipeline.reporting import findings

AUGMENTED, EQUAL_STEPS = "augmented - raw", "balancing at equal steps (custom_cnn)"


def row(contrast: str, metric: str, value: float | str, **more: str) -> dict[str, str]:
    interval = [value, value, value] if isinstance(value, str) else [value, value - 0.01, value + 0.01]
    told = dict(zip(("difference", "low", "high"), interval, strict=True))
    told |= {"kind": "planned", "contrast": contrast, "finished": "yes", "figure": metric, "p": 0.2, "p_holm": ""}
    told |= {"over": "all", "left_out": "", "missing": "", "opposed": ""}
    return {key: str(text) for key, text in {**told, **more}.items()}


def both(auc: float | str, accuracy: float | str, p: tuple[str, str], **more: str) -> list[dict[str, str]]:
    metrics = (("test_auc", auc), ("test_accuracy_at_sensitive", accuracy))
    return [
        row(AUGMENTED, metric, value, p_holm=p_holm, **more) for (metric, value), p_holm in zip(metrics, p, strict=True)
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (both(0.02, 0.03, ("0.01", "0.04")), "shown"),
        (both(-0.02, -0.03, ("0.01", "0.04")), "the opposite is shown"),
        (both(0.02, 0.03, ("0.01", "0.06")), "not shown"),
        (both(0.02, -0.03, ("0.01", "0.01")), "not shown"),
        (both(0.02, 0.03, ("0.01", "0.01"), opposed="yes"), "not shown: networks differ"),
        (both(0.02, 0.03, ("0.01", "0.01"), missing="vgg16-raw-0"), "not shown: vgg16-raw-0 has not been trained"),
        (both("undefined", "undefined", ("undefined", "undefined")), "not shown: no finished pair"),
        (both(0.02, 0.03, ("0.01", "0.04"), finished=""), "not shown: its runs are missing"),
        ([], "not shown: its runs are missing"),
    ],
)
def test_a_finding_is_answered_by_the_rule(rows, said):
    assert f"| Augmentation helps | {said} |" in findings.table(rows)
    assert f"- Augmentation helps: **{said}**" in findings.short(rows)


def test_accuracy_at_one_half_is_told_and_decides_nothing():
    rows = [*both(0.02, 0.03, ("0.01", "0.04")), row(AUGMENTED, "test_accuracy", -0.5)]
    line = next(line for line in findings.table(rows).splitlines() if line.startswith("| Augmentation helps"))
    assert line == (
        "| Augmentation helps | shown | +.020 (+.010 to +.030), significant (Holm-adjusted p = .010) | "
        "+.030 (+.020 to +.040), significant (Holm-adjusted p = .040) | -.500 (-.510 to -.490) | all |"
    )


def winner(best: str, others: dict[str, tuple[float, str]]) -> list[dict[str, str]]:
    return [
        row(f"{best} - {other}", metric, value, kind="winner", p_holm=p, over=f"{best} less {other}")
        for other, (value, p) in others.items()
        for metric in findings.COLUMNS
    ]


@pytest.mark.parametrize(
    ("best", "others", "said"),
    [
        ("vgg16-raw-0", {"xception-raw-0": (0.04, "0.01")}, "**the opposite is shown**"),
        ("vgg16-raw-0", {"xception-raw-0": (0.04, "0.3")}, "**not shown**; the best finished run"),
        ("vgg16-raw-0", {"resnet50-raw-0": (0.04, "0.01")}, "**not shown**: no run of Xception is finished"),
        (
            "xception-raw-0",
            {"vgg16-raw-0": (0.04, "0.01")},
            "no run of custom_cnn, densenet121, inception_v3, resnet50",
        ),
        (
            "xception-raw-0",
            {f"{name}-raw-0": (0.04, "0.01") for name in findings.published.NETWORKS - {"xception"}},
            "**shown**; the best finished run",
        ),
        (
            "xception-raw-0",
            {f"{name}-raw-0": (0.04, "0.2") for name in findings.published.NETWORKS - {"xception"}},
            "**not shown**; the best finished run",
        ),
    ],
)
def test_the_winner_has_to_beat_the_best_of_every_other_network(best, others, said):
    rows = winner(best, others)
    assert said in findings.winner_answer(rows)
    table = findings.table(rows)
    assert all(f"| {best} less {other} | +.040" in table for other in others)


def test_without_a_second_network_nobody_wins():
    assert "no second network" in findings.winner_answer([])
