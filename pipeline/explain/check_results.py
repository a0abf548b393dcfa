"""Whether the maps passed: what each check asks, what was found in numbers, and the verdict."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.formatting import estimate, of
from pipeline.evaluation.run_metrics import UNDEFINED

Row = dict[str, Any]
UNRELATED = 0.2  # rank correlations within plus or minus this count as none
MOST_UNDEFINED = 0.5  # share of the correlations: with more of them undefined, hardly anything was compared


def verdicts(cascade: Sequence[Row], masked: Sequence[Row], bordered: Sequence[Row]) -> dict[str, Row]:
    """By check `asks`, `found` and `passes`; an undefined metric passes nothing, and neither does an empty table."""
    frames = [row for row in bordered if row["shown"] == "frame alone"]
    return {
        "randomisation": _randomisation(cascade[-1]),
        "masking": {
            "asks": "greying the hottest places lowers the logit more than greying as much elsewhere; "
            "the difference's interval lies above 0 on every split.",
            "found": f"difference {', '.join(_masked(row) for row in masked)}.",
            "passes": bool(masked) and all(row["pictures"] and _bound(row, "difference_low") > 0 for row in masked),
        },
        "border": {
            "asks": "the frame alone does not tell the classes apart; every interval of its AUC holds .5.",
            "found": f"AUC of the frame alone {_frames(frames)}; "
            f"{sum(map(_holds_half, frames))} of {len(frames)} intervals hold .5.",
            "passes": bool(frames) and all(map(_holds_half, frames)),
        },
    }


def sentence(verdict: Mapping[str, Any]) -> str:
    """A verdict for a reader: what was asked, and what was found."""
    return f"Asked: {verdict['asks']} Found: {verdict['found']}"


def _randomisation(last: Row) -> Row:
    """The end of the cascade, where every weight is random."""
    low, high = (_bound(last, f"correlation_{end}") for end in ("low", "high"))
    undefined = float(last["undefined"])
    return {
        "asks": "with every weight random the maps agree no more; the mean rank correlation's interval lies within "
        f"{UNRELATED} of 0, and at most {MOST_UNDEFINED:.0%} of the correlations are undefined.",
        "found": f"mean rank correlation {of(last, 'correlation')}; {undefined:.1%} of the correlations are "
        f"undefined; {float(last['constant_maps']):.1%} of the trained network's own maps are constant.",
        "passes": low > -UNRELATED and high < UNRELATED and undefined <= MOST_UNDEFINED,
    }


def _masked(row: Row) -> str:
    if not row["pictures"]:
        return f"undefined on {row['split']}, where no image is called pneumonia"
    return f"{of(row, 'difference')} logits on {row['split']}"


def _frames(frames: Sequence[Row]) -> str:
    """The range over the frame's widths, by split."""
    sentences = []
    for split in dict.fromkeys(row["split"] for row in frames):
        ends = sorted(
            estimate(row["auc"]) for row in frames if row["split"] == split
        )  # as many digits each: sorts as numbers
        sentences.append(f"{ends[0]} to {ends[-1]} on {split}")
    return ", ".join(sentences) or "was not measured"


def _holds_half(row: Row) -> bool:
    return _bound(row, "auc_low") <= 0.5 <= _bound(row, "auc_high")


def _bound(row: Row, name: str) -> float:
    """A metric as a number; what is undefined becomes NaN, which no comparison holds for."""
    return math.nan if row[name] == UNDEFINED else float(row[name])
