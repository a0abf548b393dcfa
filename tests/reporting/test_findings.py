"""The study's findings beside ours: what each difference is called, and against whom the best run is set."""

import pytest

from pipeline.reporting import findings

AUGMENTED, EQUAL_STEPS = "augmented - raw", "balancing at equal steps (custom_cnn)"


def row(
    contrast: str, figure: str, value: float | str, low: float | str, high: float | str, **more: str
) -> dict[str, str]:
    told = {"contrast": contrast, "figure": figure, "difference": value, "low": low, "high": high, "p": 0.2}
    return {key: str(text) for key, text in {**told, "p_holm": "", "over": "all", "opposed": "", **more}.items()}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((0.02, 0.01, 0.03, ""), "| yes | AUC +0.020 (+0.010 to +0.030) | all |"),
        ((-0.02, -0.03, -0.01, ""), "| no: it harms | AUC -0.020 (-0.030 to -0.010) | all |"),
        ((0.02, -0.01, 0.05, ""), "| not shown (p = 0.20) | AUC +0.020 (-0.010 to +0.050) | all |"),
        ((-0.05, -0.07, -0.03, "yes"), "| differs by network | AUC -0.050 (-0.070 to -0.030) | all |"),
        (("undefined", "undefined", "undefined", ""), "| not comparable | AUC undefined | all |"),
    ],
)
def test_a_difference_is_called_by_its_interval(found, said):
    value, low, high, opposed = found
    table = findings.table([row(AUGMENTED, "test_auc", value, low, high, opposed=opposed)], "vgg16-raw-0")
    assert f"| augmentation helps {said}" in table.splitlines()
    assert "| balancing helps, at equal steps | not tested yet: its runs are missing | - | - |" in table


def test_validation_figures_are_no_finding():
    table = findings.table([row(AUGMENTED, "validation_auc", 0.02, 0.01, 0.03)], "vgg16-raw-0")
    assert "AUC" not in table


def test_the_best_run_is_set_against_the_nearest_of_each_other_network():
    best = "vgg16-robust-0"
    rows = []
    for other, stressed, p in (
        ("vgg16-raw-0", 0.001, 0.9),
        ("xception-raw-0", 0.02, 0.01),
        ("xception-balanced-0", 0.01, 0.2),
        ("resnet50-raw-0", 0.3, 0.001),
    ):
        name = f"{best} - {other}"
        rows.append(row(name, "stress_auc", stressed, 0, 1, p_holm="0.5", over=other))
        rows.append(row(name, "test_auc", 0.04, 0.01, 0.07, p_holm=str(p), over=other))
    lines = [line for line in findings.table(rows, best).splitlines() if line.startswith("- ")]
    assert lines == [
        "- xception-balanced-0: +0.040 (+0.010 to +0.070), within chance.",
        "- resnet50-raw-0: +0.040 (+0.010 to +0.070), larger than chance.",
    ]
    assert "no second network" in findings.table([], best)
