"""Where the benchmarks keep what they found: benchmarks/measured.json, from which the documents are written."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from pipeline import paths
from pipeline.files import read_json, write_json

KEPT = paths.ROOT / "benchmarks" / "measured.json"


def row(what: str, unit: str, here: float, peer: float | None = None, beside: str = "") -> dict[str, Any]:
    """One line of the table: a number, and the peer's that was measured in the same run."""
    return {"what": what, "unit": unit, "here": here, "peer": peer, "beside": beside}


def keep(benchmark: str, rows: list[dict[str, Any]], others_stay: bool = False) -> None:
    """Replace what was known of one benchmark, or with `others_stay` only the rows of the same name."""
    known = read_json(KEPT, otherwise={})
    if others_stay:
        before = {measurement["what"]: measurement for measurement in known.get(benchmark, {}).get("rows", [])}
        rows = list((before | {measurement["what"]: measurement for measurement in rows}).values())
    write_json(KEPT, known | {benchmark: {"cores": os.cpu_count(), "rows": rows}})


def hold(criteria: Mapping[str, bool]) -> None:
    """End with status 1 where a criterion is not met; what was measured is kept before this is asked."""
    if broken := [words for words, holds in criteria.items() if not holds]:
        sys.exit(f"past the limit: {'; '.join(broken)}")
