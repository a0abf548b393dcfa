"""How a metric, a row's name and a table are written for a reader, in Markdown."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.evaluation.run_metrics import UNDEFINED
from pipeline.settings import BASELINE

Row = Mapping[str, Any]
ALPHA = 0.05


def estimate(value: Any, low: Any = None, high: Any = None, digits: int = 3) -> str:
    """A metric for a reader: `.943 (.925 to .960)`; "undefined" as it is; a dash where there is none."""
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
    """A metric of a row with its interval."""
    return estimate(row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high"), digits)


def threshold(value: Any) -> str:
    """A probability that decides; near 0 and 1, where three digits would say nothing, its distance from there."""
    if value in ("", None, UNDEFINED) or 0.0005 <= float(value) < 0.9995:
        return estimate(value)
    return f"{float(value):.1e}" if float(value) < 0.5 else f"1 - {1 - float(value):.1e}"


def label(row: Row) -> str:
    """What every row of a trained run says of itself: run, epochs, start, and whether it is unfinished or did not train."""
    if row["run"] == BASELINE:
        return "**non-image baseline**"
    unfinished = ", unfinished" if row.get("unfinished") else ""
    return f"{row['run']} ({row['epochs']} epochs{unfinished}, {row['weights']}){idle(row)}"


def idle(row: Row) -> str:
    """Said of a row of a table (`status`) or of metrics/runs (`did_not_train`) whose run did not train."""
    return " **did not train**" if row.get("status") == "did not train" or row.get("did_not_train") is True else ""


def signed(value: Any, low: Any = None, high: Any = None) -> str:
    """A difference with its interval, signs shown: `+.043 (-.005 to +.088)`; "undefined" as it is."""
    if UNDEFINED in (value, low, high):
        return UNDEFINED
    text, *bounds = (
        re.sub(r"^([+-])0\.", r"\1.", f"{round(float(number), 3) + 0.0:+.3f}")
        for number in (value, low, high)
        if number is not None
    )
    return f"{text} ({' to '.join(bounds)})" if bounds else text


def significance(p_holm: Any) -> str:
    """The one way in which a test is told: `significant (Holm-adjusted p = .010)`."""
    if p_holm in ("", None, UNDEFINED):
        return "not tested"
    return f"{'significant' if is_significant(p_holm) else 'not significant'} (Holm-adjusted p = {estimate(p_holm)})"


def is_significant(p_holm: Any) -> bool:
    """Whether an adjusted p is below .05."""
    return p_holm not in ("", None, UNDEFINED) and float(p_holm) < ALPHA


def markdown(header: Sequence[str], body: Iterable[Sequence[Any]]) -> str:
    """A table."""
    lines = [" | ".join(header), " | ".join("---" for _ in header)]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(map(str, row)) for row in body)])


def _short(value: Any, digits: int) -> str:
    if value == UNDEFINED:
        return UNDEFINED
    rounded = round(float(value), digits) + 0.0  # + 0.0: no "-.000"
    return re.sub(r"^(-?)0\.", r"\1.", f"{rounded:.{digits}f}")
