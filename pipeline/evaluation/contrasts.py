"""The planned contrasts: differences between runs on the same patients, paired, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.evaluation import bootstrap
from pipeline.evaluation.run_metrics import Figures

Facts = Mapping[str, Mapping[str, Any]]
Pair = tuple[str, str]
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

    `over` says what was averaged, the difference in each network, how long each was trained, and what was left out;
    `opposed` whether the intervals of two networks lie on opposite sides of 0, so that their mean hides both.
    """

    name: str
    figure: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float | None
    over: str
    opposed: bool = False


def planned(figures: Mapping[str, Figures], facts: Facts) -> list[Contrast]:
    """Groups against each other over the networks that have both; transfer; balancing at equal steps.

    A network with several seeds enters with the mean of the seeds that both groups have. A pair that was not trained
    for as many epochs compares epochs, not groups: it is left out, and named; where no pair is left, the contrast is
    undefined. The intervals hold the chance of other patients, not of other seeds.
    """
    found = []
    for first, second in GROUPS:
        equal, unequal = pairs(facts, first, second)
        if equal or unequal:
            found += [_averaged(f"{first} - {second}", one, equal, unequal, figures, facts) for one in FIGURES]
    for name, (first, second) in PAIRS.items():
        if first in figures and second in figures:
            found += [_single(name, figure, (first, second), figures, facts) for figure in FIGURES]
    return found


def winner(best: str, figures: Mapping[str, Figures], facts: Facts) -> list[Contrast]:
    """The best run on stressed validation against each other run; p by Holm over all of them, figure by figure."""
    found = []
    for figure in FIGURES:
        rest = [
            _single(f"{best} - {other}", figure, (best, other), figures, facts) for other in figures if other != best
        ]
        adjusted = bootstrap.holm([one.p for one in rest])
        found += [replace(one, p_holm=p) for one, p in zip(rest, adjusted, strict=True)]
    return found


def release(named: Mapping[str, Any], figures: Mapping[str, Figures], facts: Facts) -> list[Contrast]:
    """What it costs to release another run than the candidate; test figures are shown, and chose nothing."""
    released = named["released"]["run"] if named["released"] else named["run"]
    if released == named["run"]:
        return []
    pair = (named["run"], released)
    return [_single("cost of the release: candidate - released", figure, pair, figures, facts) for figure in FIGURES]


def pairs(facts: Facts, first: str, second: str) -> tuple[dict[str, list[Pair]], list[str]]:
    """For each network, its runs `network-group-seed` of both groups, seed by seed; and networks with unequal epochs.

    `facts` holds `network`, `seed` and `epochs` of each run, by its name. Controls, whose names say more, are no pairs.
    """
    equal: dict[str, list[Pair]] = {}
    unequal = []
    for name, own in facts.items():
        network, seed = own["network"], own["seed"]
        other = f"{network}-{second}-{seed}"
        if name != f"{network}-{first}-{seed}" or other not in facts:
            continue
        if int(own["epochs"]) == int(facts[other]["epochs"]):
            equal.setdefault(network, []).append((name, other))
        elif network not in unequal:
            unequal.append(network)
    return equal, unequal


def _averaged(
    name: str,
    figure: str,
    equal: Mapping[str, Sequence[Pair]],
    unequal: Sequence[str],
    figures: Mapping[str, Figures],
    facts: Facts,
) -> Contrast:
    """One figure: the mean over seeds within a network, then over networks."""
    by_network = {
        network: np.mean([figures[a][figure] - figures[b][figure] for a, b in own], axis=0)
        for network, own in equal.items()
    }
    told = [f"{network} {by_network[network][0]:+.3f} ({_trained(own, facts)})" for network, own in equal.items()]
    over = ", ".join(told) or "no network"
    over += f" (left out, unequal epochs: {', '.join(unequal)})" if unequal else ""
    over += _collapsed([run for own in equal.values() for pair in own for run in pair], facts)
    if not by_network:
        return Contrast(name, figure, np.nan, np.nan, np.nan, np.nan, None, over)
    bounds = [bootstrap.interval(difference) for difference in by_network.values()]
    opposed = any(low > 0 for _, low, _ in bounds) and any(high < 0 for _, _, high in bounds)
    difference = np.mean(list(by_network.values()), axis=0)
    return Contrast(name, figure, *bootstrap.interval(difference), bootstrap.p_value(difference), None, over, opposed)


def _single(name: str, figure: str, pair: Pair, figures: Mapping[str, Figures], facts: Facts) -> Contrast:
    """One figure of one run less that of another."""
    first, second = pair
    difference = figures[first][figure] - figures[second][figure]
    over = " less ".join(f"{run} ({facts[run]['epochs']} epochs)" for run in pair) + _collapsed(pair, facts)
    return Contrast(name, figure, *bootstrap.interval(difference), bootstrap.p_value(difference), None, over)


def _trained(own: Sequence[Pair], facts: Facts) -> str:
    """How long the runs of a network were trained, and how many seeds there are."""
    epochs = "; ".join(dict.fromkeys(f"{facts[first]['epochs']} epochs" for first, _ in own))
    return f"{epochs}, {len(own)} seeds" if len(own) > 1 else epochs


def _collapsed(used: Sequence[str], facts: Facts) -> str:
    collapsed = sorted({run for run in used if facts[run]["collapsed"]})
    return f" (collapsed: {', '.join(collapsed)})" if collapsed else ""
