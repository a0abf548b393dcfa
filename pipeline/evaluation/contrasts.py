"""The planned contrasts: differences between runs on the same patients, paired, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluation import statistics
from pipeline.evaluation.measure import Figures
from pipeline.evaluation.statistics import Floats
from pipeline.settings import Run

Facts = Mapping[str, Mapping[str, Any]]
FIGURES = ("test_accuracy", "test_balanced_accuracy", "test_auc", "validation_auc", "stress_auc")
GROUPS = (("augmented", "raw"), ("balanced", "augmented"), ("robust", "balanced"))
PAIRS = {
    "transfer: ImageNet - random start (densenet121, balanced)": (
        "densenet121-balanced-0",
        "densenet121-balanced-0-random",
    ),
    "balancing at equal steps (custom_cnn)": ("custom_cnn-balanced-0", "custom_cnn-augmented-0-steps"),
}


@dataclass(frozen=True)
class Contrast:
    """A difference of one figure, first minus second, with its interval.

    `over` says what was averaged and what was left out; `epochs` how long each pair was trained.
    """

    name: str
    figure: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float | None
    over: str
    epochs: str


def planned(figures: Mapping[str, Figures], runs: Mapping[str, Run], facts: Facts) -> list[Contrast]:
    """Groups against each other over the networks that have both; transfer; balancing at equal steps.

    A network with several seeds enters with the mean of the seeds that both groups have. A pair that was not trained
    for as many epochs compares epochs, not groups: it is left out, and named. The intervals hold the chance of other
    patients, not of other seeds.
    """
    found = []
    for first, second in GROUPS:
        pairs, unequal = _pairs(runs, figures, facts, first, second)
        if pairs:
            over = ", ".join(pairs)
            over += f" (left out, unequal epochs: {', '.join(unequal)})" if unequal else ""
            found += _contrasts(f"{first} - {second}", list(pairs.values()), figures, facts, over)
    for name, (first, second) in PAIRS.items():
        if first in figures and second in figures:
            found += _contrasts(name, [[(first, second)]], figures, facts, f"{first}; {second}")
    return found


def winner(best: str, figures: Mapping[str, Figures], facts: Facts) -> list[Contrast]:
    """The best run on stressed validation against each other run; p by Holm over all of them, figure by figure."""
    found = []
    for figure in FIGURES:
        rest = [
            _contrast(
                f"{best} - {other}", figure, figures[best][figure] - figures[other][figure], "", (best, other), facts
            )
            for other in figures
            if other != best
        ]
        adjusted = statistics.holm([one.p for one in rest])
        found += [Contrast(**{**vars(one), "p_holm": p}) for one, p in zip(rest, adjusted, strict=True)]
    return found


def release(named: Mapping[str, Any], figures: Mapping[str, Figures], facts: Facts) -> list[Contrast]:
    """What it costs to release another run than the candidate; test figures are shown, and chose nothing."""
    released = named["released"]["run"] if named["released"] else named["run"]
    if released == named["run"]:
        return []
    pair = [[(named["run"], released)]]
    return _contrasts("cost of the release: candidate - released", pair, figures, facts, "; ".join(pair[0][0]))


def _pairs(
    runs: Mapping[str, Run], figures: Mapping[str, Figures], facts: Facts, first: str, second: str
) -> tuple[dict[str, list[tuple[str, str]]], list[str]]:
    """For each network, the runs `network-group-seed` that exist in both groups, seed by seed; and unequal ones."""
    pairs: dict[str, list[tuple[str, str]]] = {}
    unequal = []
    for run in runs.values():
        ours, theirs = f"{run.network}-{first}-{run.seed}", f"{run.network}-{second}-{run.seed}"
        if run.name != ours or ours not in figures or theirs not in figures:
            continue
        if int(facts[ours]["epochs"]) == int(facts[theirs]["epochs"]):
            pairs.setdefault(run.network, []).append((ours, theirs))
        else:
            unequal.append(run.network)
    return pairs, unequal


def _contrasts(
    name: str,
    networks: Sequence[Sequence[tuple[str, str]]],
    figures: Mapping[str, Figures],
    facts: Facts,
    over: str,
) -> list[Contrast]:
    """One contrast for each figure: mean over seeds within a network, then over networks."""
    used = [run for pairs in networks for pair in pairs for run in pair]
    collapsed = sorted({run for run in used if facts[run]["collapsed"]})
    over += f" (collapsed: {', '.join(collapsed)})" if collapsed else ""
    return [
        _contrast(
            name,
            figure,
            np.mean(
                [np.mean([figures[a][figure] - figures[b][figure] for a, b in pairs], axis=0) for pairs in networks],
                axis=0,
            ),
            over,
            used,
            facts,
        )
        for figure in FIGURES
    ]


def _contrast(name: str, figure: str, difference: Floats, over: str, used: Sequence[str], facts: Facts) -> Contrast:
    value, low, high = statistics.interval(difference)
    pairs = zip(used[::2], used[1::2], strict=True)
    epochs = sorted({(int(facts[a]["epochs"]), int(facts[b]["epochs"])) for a, b in pairs})
    told = "; ".join(f"{first} - {second}" for first, second in epochs)
    return Contrast(name, figure, value, low, high, statistics.p_value(difference), None, over, told)
