"""The study's findings beside ours: an answer, the difference and its interval, from metrics/contrasts.csv."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.contrasts import PAIRS
from pipeline.evaluation.run_metrics import UNDEFINED

Row = Mapping[str, Any]

# What the study says, and the contrast that tests it.
CLAIMS = (
    ("augmentation helps", "augmented - raw"),
    ("balancing helps further", "balanced - augmented"),
    *zip(("ImageNet weights help", "balancing helps, at equal steps"), PAIRS, strict=True),
)
SHOWN = {"test_accuracy": "accuracy", "test_auc": "AUC"}


def table(contrasts: Sequence[Row], best: str) -> str:
    """Markdown: one line a claim and figure of the official test set; a claim whose runs are missing says so."""
    lines = ["| the study says | here | difference on the test set | mean of |", "|---|---|---|---|"]
    for said, name in CLAIMS:
        found = {row["figure"]: row for row in contrasts if row["contrast"] == name}
        if not found:
            lines.append(f"| {said} | not tested yet: its runs are missing | - | - |")
        for figure, title in SHOWN.items():
            if row := found.get(figure):
                lines.append(f"| {said} | {_answer(row)} | {title} {_points(row)} | {row['over']} |")
    return "\n".join([*lines, "", *_winner(contrasts, best)])


def _winner(contrasts: Sequence[Row], best: str) -> list[str]:
    """Which network wins: the best run on stressed validation against the best run of each other network.

    The best run was chosen by its stressed validation figure, so that figure flatters it; the official test chose nothing.
    """
    rows = [row for row in contrasts if row["p_holm"] and row["figure"] == "stress_auc"]
    test = {row["contrast"]: row for row in contrasts if row["p_holm"] and row["figure"] == "test_auc"}
    nearest: dict[str, Row] = {}
    for row in rows:
        other = row["contrast"].removeprefix(f"{best} - ")
        network = other.split("-")[0]
        if network != best.split("-")[0] and float(row["difference"]) < float(
            nearest.get(network, {"difference": 2})["difference"]
        ):
            nearest[network] = row
    study = "The study's winner is Xception, balanced and augmented."
    if not nearest:
        return [f"{study} Here no second network has been trained yet."]
    intro = (
        f"Best on stressed validation here, which alone decides: `{best}`. Against the best run of each other network "
        "on stressed validation, AUC on the official test set, which chose nothing, Holm-corrected over all runs:"
    )
    lines = [study, intro, ""]
    for row in nearest.values():
        row = test[row["contrast"]]
        difference = "larger than chance" if float(row["p_holm"]) < 0.05 else "within chance"
        lines.append(f"- {row['over']}: {_points(row)}, {difference}.")
    return lines


def _answer(row: Row) -> str:
    if row["difference"] == UNDEFINED:
        return "not comparable"
    if row["opposed"]:
        return "differs by network"
    if float(row["low"]) > 0:
        return "yes"
    return "no: it harms" if float(row["high"]) < 0 else f"not shown (p = {float(row['p']):.2f})"


def _points(row: Row) -> str:
    if UNDEFINED in (row["difference"], row["low"], row["high"]):
        return UNDEFINED
    return signed(*(float(row[key]) for key in ("difference", "low", "high")))


def signed(value: float, low: float, high: float) -> str:
    """A difference with its interval, signs shown: `+0.043 (-0.005 to +0.088)`."""
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
