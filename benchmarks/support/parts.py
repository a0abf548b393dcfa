"""How the benchmarks of the service keep what they found, part by part: benchmarks/serving.json."""

import datetime
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.support.record import hold
from pipeline import paths
from pipeline.files import read_json, write_json

REQUESTS = int(os.environ.get("REQUESTS", "0"))  # 0: as many as the numbers in the documents are of
KEPT = paths.ROOT / "benchmarks" / "serving.json"
Facts = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One measurement, and its criteria: each in words, and whether it holds."""

    run: Callable[[], Facts]
    criteria: Callable[[Facts], Mapping[str, bool]]


def measure(known: Mapping[str, Part]) -> None:
    """Measure the parts that the command line names, or all; print and keep each; end with status 1 past a limit."""
    criteria: dict[str, bool] = {}
    for name in sys.argv[1:] or known:
        facts = known[name].run()
        print(f"{name}: {json.dumps(facts, indent=1)}")
        if REQUESTS:
            continue
        facts["measured"] = datetime.datetime.now(datetime.UTC).date().isoformat()
        kept = read_json(KEPT, otherwise={})
        write_json(KEPT, kept | {name: facts})
        criteria |= {f"{name}: {words}": holds for words, holds in known[name].criteria(facts).items()}
    hold(criteria)


def counted(statuses: Iterable[int]) -> dict[str, int]:
    """How many answers of each status."""
    return {str(status): number for status, number in sorted(Counter(statuses).items())}
