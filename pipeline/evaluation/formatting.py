"""How a figure, a row's name and a table are written for a reader, in Markdown."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.evaluation.run_metrics import UNDEFINED
from pipeline.settings import BASELINE

Row = Mapping[str, Any]


def figure(value: Any, low: Any = None, high: Any = None, digits: int = 3) -> str:
    """A figure for a reader: `.943 (.925 to .960)`; "undefined" as it is; a dash where there is none."""
    if value in ("", None):
        return "-"
    if value == UNDEFINED:
        return UNDEFINED
    text = _short(value, digits)
    return (
        text
        if "" in (low, high) or None in (low, high)
        else f"{text} ({_short(low, digits)} to {_short(high, digits)})"
    )


def of(row: Row, name: str, digits: int = 3) -> str:
    """A figure of a row with its interval."""
    return figure(row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high"), digits)


def threshold(value: Any) -> str:
    """A probability that decides; near 0 and 1, where three digits would say nothing, its distance from there."""
    if value in ("", None, UNDEFINED) or 0.0005 <= float(value) < 0.9995:
        return figure(value)
    return f"{float(value):.1e}" if float(value) < 0.5 else f"1 - {1 - float(value):.1e}"


def label(row: Row) -> str:
    """What every row of a trained run says of itself: run, epochs, starting weights, and whether it learned nothing."""
    if row["run"] == BASELINE:
        return "**non-image baseline**"
    return f"{row['run']} ({row['epochs']} epochs, {row['weights']}){' **(collapsed)**' if collapsed(row) else ''}"


def collapsed(row: Row) -> bool:
    """Whether a row of a table (`status`) or of metrics/runs (`collapsed`) belongs to a run that learned nothing."""
    return row.get("status") == "collapsed" or row.get("collapsed") is True


def markdown(header: Sequence[str], body: Iterable[Sequence[Any]]) -> str:
    """A table."""
    lines = [" | ".join(header), " | ".join("---" for _ in header)]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(map(str, row)) for row in body)])


def _short(value: Any, digits: int) -> str:
    if value == UNDEFINED:
        return UNDEFINED
    rounded = round(float(value), digits) + 0.0  # + 0.0: no "-.000"
    return re.sub(r"^(-?)0\.", r"\1.", f"{rounded:.{digits}f}")
