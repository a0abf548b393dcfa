"""The model's card in Markdown, from the contract alone."""

from typing import Any

from pipeline import outcomes
from pipeline.inference import PRECISION

Contract = dict[str, Any]
ROWS = [
    ("AUC", "auc"),
    ("sensitivity at the threshold for sensitivity", "sensitivity_at_sensitive"),
    ("specificity at the threshold for sensitivity", "specificity_at_sensitive"),
    ("sensitivity at the threshold for specificity", "sensitivity_at_specific"),
    ("specificity at the threshold for specificity", "specificity_at_specific"),
    ("log loss, recalibrated", "log_loss_recalibrated"),
    ("Brier score, recalibrated", "brier_recalibrated"),
    ("calibration intercept, recalibrated", "calibration_intercept_recalibrated"),
    ("calibration slope, recalibrated", "calibration_slope_recalibrated"),
]


def text(contract: Contract) -> str:
    """The card of a candidate or champion."""
    metrics = contract["figures"]
    table = "\n".join(
        f"| {title} | {_estimate(metrics['validation'].get(key))} | {_estimate(metrics['test'].get(key))} |"
        for title, key in ROWS
    )
    generated = contract["dataset"] == "phantom"
    warning = (
        "**Trained on generated images (phantoms): its metrics say nothing about children.**\n\n" if generated else ""
    )
    return f"""# {contract["name"]} {contract["version"]}

{warning}{contract["intended_use"]}

- Network: {contract["network"]}, run {contract["run"]}, weights stored as {contract["weights"]}, computed in {PRECISION}.
- Data: {contract["dataset"]}, edition {contract["edition"]}, digest {contract["dataset_digest"][:12]}.
- Input: `pixels`, uint8 [n, {contract["input"]["shape"][1]}, {contract["input"]["shape"][2]}, 1], 0 to 255, one channel.
- Output: a score from 0 to 1, read against two thresholds. {outcomes.calibration(contract)}

{_thresholds(contract)}

| metric (95 % interval by patient) | validation | official test |
|---|---|---|
{table}

AUC on the validation images under stress, pooled: {_estimate(metrics["stress"].get("auc"))}.
All metrics were computed from the shipped graph. The map is Grad-CAM evidence on a coarse grid: it localises nothing by itself.
{_input_check(contract)}
## Changelog

{chr(10).join(f"- {entry}" for entry in contract["changelog"])}
"""


def _thresholds(contract: Contract) -> str:
    """The outcomes, by which criterion their limits were fixed, and how many images lie between them."""
    lower, upper = outcomes.thresholds(contract)
    lines = [
        "| score | outcome |",
        "|---|---|",
        f"| below {lower.score:.4f} | {outcomes.NONE} |",
        f"| between | {outcomes.INDETERMINATE} |",
        f"| from {upper.score:.4f} on | {outcomes.SIGNS} |",
        "",
        f"Lower threshold: {lower.criterion}. Upper threshold: {upper.criterion}.",
    ]
    fixed = contract.get("thresholds")
    if fixed:
        between = {part: _estimate(metrics.get("indeterminate")) for part, metrics in contract["figures"].items()}
        lines.append(
            f"{fixed['order']} Share of indeterminate images: validation {between['validation']}, stressed validation "
            f"{between['stress']}, official test {between['test']}."
        )
    return "\n".join(lines)


def _input_check(contract: Contract) -> str:
    """Whom the input check turns away; nothing where the contract does not say."""
    guard = contract.get("guard", {})
    if "validation_refused" not in guard:
        return ""
    return (
        f"\nThe input check rejects of the validation images {_estimate(guard['validation_refused'])}, of their central 80 % "
        f"{_estimate(guard['central_80_percent_of_validation_refused'])}, of the official test "
        f"{_estimate(guard['test_refused'])}.\n"
    )


def _estimate(estimate: dict[str, Any] | None) -> str:
    if estimate is None or isinstance(estimate["value"], str):
        return "undefined"
    return f"{estimate['value']:.3f} ({_bound(estimate['low'])} to {_bound(estimate['high'])})"


def _bound(value: float | str) -> str:
    """An end of an interval, which may be undefined where the value is not: few images, all of them right."""
    return value if isinstance(value, str) else f"{value:.3f}"
