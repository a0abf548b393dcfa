"""The study's findings beside ours: an answer by a fixed rule, from metrics/contrasts.csv."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation import published
from pipeline.evaluation.contrasts import DECIDING, EQUAL_STEPS, TRANSFER
from pipeline.evaluation.formatting import is_significant, markdown, signed, significance
from pipeline.evaluation.run_metrics import UNDEFINED

Row = Mapping[str, Any]

SHOWN, OPPOSITE, NOT_SHOWN = "shown", "the opposite is shown", "not shown"
# What the study says, and the contrast that tests it. The last one is a control, not the study's.
CLAIMS = (
    ("Augmentation helps", "augmented - raw"),
    ("Balancing helps further", "balanced - augmented"),
    ("ImageNet weights help", TRANSFER),
    ("(control) Balancing helps at equal steps", EQUAL_STEPS),
)
STUDY_WINNER = "xception"
COLUMNS = {
    "test_auc": "AUC",
    "test_accuracy_at_sensitive": "accuracy at the validation threshold",
    "test_accuracy": "accuracy at 0.5",
}
RULE = (
    "The rule, fixed before the runs that are unfinished here were trained: a finding is *shown* when the difference on "
    "the official test is above 0 and significant (Holm-adjusted p < .05 over all planned contrasts) in both ROC AUC and "
    "accuracy at each run's own threshold, which was fixed on validation; *the opposite is shown* when both are "
    "significantly below 0; otherwise, or when networks differ significantly in opposite directions, or a run that it "
    "needs is missing, it is *not shown*. Accuracy at 0.5 decides nothing. Only finished runs that trained are compared, "
    "with equal epochs and equal starting weights unless the contrast is about them."
)
FIXED = (
    "Intervals and p-values treat networks and seeds as fixed: they hold the chance of other patients, not of another "
    "training. Where a network has several seeds, the difference of each seed is given beside the mean."
)


def table(contrasts: Sequence[Row]) -> str:
    """Markdown: the rule, a line for each claim, and which network wins."""
    header = ["the study says", "here", *COLUMNS.values(), "averaged over (AUC)"]
    body = []
    for said, name in CLAIMS:
        rows = _rows(contrasts, name)
        cells = [told(rows[metric]) if metric in rows else "-" for metric in COLUMNS]
        over = rows["test_auc"]["over"] if "test_auc" in rows else "-"
        body.append([said, answer(rows), *cells, over])
    return "\n\n".join([RULE, FIXED, markdown(header, body), *winner(contrasts)])


def short(contrasts: Sequence[Row]) -> str:
    """The answers alone, a line each."""
    lines = []
    for said, name in CLAIMS:
        rows = _rows(contrasts, name)
        cells = [f"{COLUMNS[metric]} {told(rows[metric])}" for metric in DECIDING if metric in rows]
        lines.append(f"- {said}: **{answer(rows)}**{'; ' if cells else ''}{'; '.join(cells)}.")
    return "\n".join([*lines, f"- {winner_answer(contrasts)}"])


def answer(rows: Mapping[str, Row]) -> str:
    """The rule, applied to the rows of one contrast by metric."""
    deciding = [rows[metric] for metric in DECIDING if metric in rows]
    if not deciding:
        return f"{NOT_SHOWN}: its runs are missing"
    if deciding[0]["missing"]:
        return f"{NOT_SHOWN}: {deciding[0]['missing']} has not been trained"
    if any(row["difference"] == UNDEFINED for row in deciding):
        return f"{NOT_SHOWN}: no finished pair"
    if any(row["opposed"] for row in deciding):
        return f"{NOT_SHOWN}: networks differ"
    return _direction(deciding)


def winner(contrasts: Sequence[Row]) -> list[str]:
    """Which network wins: paragraphs, and a line for each other network."""
    rows = _winners(contrasts)
    lines = [winner_answer(contrasts)]
    if rows:
        lines.append(
            "Compared are the best finished run and the best finished run of each other network, among the study's own "
            "versions of the training set, chosen by AUC on the stressed validation images; the test set was not used for "
            "this choice. Holm's adjustment is over these networks and both metrics."
        )
        body = [
            [by_metric["test_auc"]["over"], *(told(by_metric[metric]) for metric in COLUMNS)]
            for by_metric in rows.values()
        ]
        lines.append(markdown(["best run less", *COLUMNS.values()], body))
    return lines


def winner_answer(contrasts: Sequence[Row]) -> str:
    """Is the study's winner the best network here? By the rule of the findings."""
    said = "The study's winner is Xception, balanced and augmented: "
    rows = _winners(contrasts)
    if not rows:
        return f"{said}**{NOT_SHOWN}**: no second network has been trained to the end."
    best = next(iter(rows)).split(" - ")[0]
    here = f"the best finished run on the study's own groups is `{best}`"
    against = {name.split(" - ")[1].split("-")[0]: by_metric for name, by_metric in rows.items()}
    if best.split("-")[0] == STUDY_WINNER:
        absent = sorted(published.NETWORKS - {STUDY_WINNER, *against})
        wins = all(
            _direction([winner_rows[metric] for metric in DECIDING]) == SHOWN for winner_rows in against.values()
        )
        waits = f"; no run of {', '.join(absent)} is finished" if absent else ""
        return f"{said}**{SHOWN if wins and not absent else NOT_SHOWN}**; {here}{waits}."
    if STUDY_WINNER not in against:
        return f"{said}**{NOT_SHOWN}**: no run of Xception is finished; {here}."
    winner_rows = against[STUDY_WINNER]
    conclusion = OPPOSITE if _direction([winner_rows[metric] for metric in DECIDING]) == SHOWN else NOT_SHOWN
    cells = "; ".join(f"{COLUMNS[metric]} {told(winner_rows[metric])}" for metric in DECIDING)
    return f"{said}**{conclusion}**; {here}: {winner_rows['test_auc']['over']}, {cells}."


def told(row: Row) -> str:
    """A difference, its interval, and whether it is significant where that was tested."""
    difference = signed(row["difference"], row["low"], row["high"])
    return f"{difference}, {significance(row['p_holm'])}" if row["p_holm"] else difference


def _direction(deciding: Sequence[Row]) -> str:
    """What the deciding metrics of one comparison show together."""
    if all(is_significant(row["p_holm"]) for row in deciding):
        signs = {float(row["difference"]) > 0 for row in deciding}
        if len(signs) == 1:
            return SHOWN if signs.pop() else OPPOSITE
    return NOT_SHOWN


def _rows(contrasts: Sequence[Row], name: str) -> dict[str, Row]:
    """The finished part of a planned contrast, by metric."""
    return {
        row["figure"]: row
        for row in contrasts
        if row["kind"] == "planned" and row["contrast"] == name and row["finished"]
    }


def _winners(contrasts: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """The winner's comparisons, by name and metric."""
    winners: dict[str, dict[str, Row]] = {}
    for row in contrasts:
        if row["kind"] == "winner":
            winners.setdefault(row["contrast"], {})[row["figure"]] = row
    return winners
