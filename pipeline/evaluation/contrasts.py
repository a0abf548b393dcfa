"""The planned contrasts: differences between runs on the same patients, paired, with intervals.

Which pairs may be compared is fixed here, before any of them is looked at: both runs trained, for as many epochs and from
the same start, except for what a contrast is about. Pairs of unfinished runs stand apart, and no conclusion uses them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from pipeline.evaluation import bootstrap, published
from pipeline.evaluation.run_metrics import Estimates

Facts = Mapping[str, Mapping[str, Any]]
Pair = tuple[str, str]
Kind = Literal["planned", "winner", "release"]
DECIDING = ("test_auc", "test_accuracy_at_sensitive")  # what a finding is answered by
METRICS = (*DECIDING, "test_accuracy", "validation_auc", "stress_auc", "unseen_auc")
GROUPS = (("augmented", "raw"), ("balanced", "augmented"), ("robust", "balanced"))
TRANSFER = "transfer: ImageNet - random start (densenet121)"
EQUAL_STEPS = "balancing at equal steps (custom_cnn)"
# Contrasts that vary something else than the group: what, and the pairs they need.
NAMED: dict[str, tuple[str, dict[str, Pair]]] = {
    TRANSFER: (
        "weights",
        {
            "balanced": ("densenet121-balanced-0", "densenet121-balanced-0-random"),
            "robust": ("densenet121-robust-0", "densenet121-robust-0-random"),
        },
    ),
    EQUAL_STEPS: ("epochs", {"custom_cnn": ("custom_cnn-balanced-0", "custom_cnn-augmented-0-steps")}),
}


@dataclass(frozen=True)
class Contrast:
    """A difference of one metric, first minus second, with its interval.

    `over` says what was averaged: the difference in each network, of each seed, and the epochs. `left_out` names the pairs
    that were not compared, each with the reason, `missing` the runs that were not trained. `opposed`: the intervals of two
    networks lie on opposite sides of 0, so that their mean hides both. `p_holm` is adjusted over its family of tests.
    """

    kind: Kind
    name: str
    finished: bool
    metric: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float | None
    over: str
    left_out: str = ""
    missing: str = ""
    opposed: bool = False


@dataclass(frozen=True)
class Plan:
    """Which runs a contrast compares: the pairs of each part (a network, or a recipe), and why others are left out."""

    name: str
    finished: bool
    parts: Mapping[str, Sequence[Pair]]
    left_out: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()


def planned(estimates: Mapping[str, Estimates], facts: Facts, epochs: int) -> list[Contrast]:
    """Groups against each other, transfer, and balancing at equal steps; finished pairs first, the others after.

    A network with several seeds enters with the mean of the seeds that both groups have. Networks and seeds are fixed: the
    intervals hold the chance of other patients alone. Holm's adjustment is over all finished contrasts and both deciding
    metrics.

    Args:
        estimates: replicates of each of METRICS, for each run.
        facts: `network`, `group`, `seed`, `weights`, `epochs` and `did_not_train` of each run, by its name.
        epochs: how many a finished run has.
    """
    plans = [plan for finished in (True, False) for plan in plans_of(facts, epochs, finished)]
    return _adjusted([_difference("planned", plan, metric, estimates, facts) for plan in plans for metric in METRICS])


def winner(by: str, estimates: Mapping[str, Estimates], facts: Facts, epochs: int) -> list[Contrast]:
    """The best finished run against the best one of each other network; both chosen by a metric of validation, `by`.

    Only the study's own groups and no control enter, so that networks are compared and not recipes. Holm's adjustment is
    over these networks and both deciding metrics.
    """
    best: dict[str, str] = {}
    for run in sorted(finished_runs(facts, epochs), key=lambda run: (-estimates[run][by][0], run)):
        fact = facts[run]
        if fact["group"] in published.GROUPS and run == f"{fact['network']}-{fact['group']}-{fact['seed']}":
            best.setdefault(fact["network"], run)
    first, *rest = best.values() or [""]
    plans = [Plan(f"{first} - {other}", True, {"": [(first, other)]}) for other in rest]
    return _adjusted([_difference("winner", plan, metric, estimates, facts) for plan in plans for metric in METRICS])


def release(named: Mapping[str, Any], estimates: Mapping[str, Estimates], facts: Facts) -> list[Contrast]:
    """What it costs to release another run than the candidate; test metrics are shown, and were not used for selection."""
    released = named["released"]["run"] if named["released"] else named["run"]
    if released == named["run"]:
        return []
    plan = Plan("cost of the release: candidate - released", True, {"": [(named["run"], released)]})
    return [_difference("release", plan, metric, estimates, facts) for metric in METRICS]


def finished_runs(facts: Facts, epochs: int) -> list[str]:
    """Runs that trained, for all their epochs: those that a conclusion may use."""
    return [run for run, fact in facts.items() if int(fact["epochs"]) >= epochs and not fact["did_not_train"]]


def plans_of(facts: Facts, epochs: int, finished: bool) -> list[Plan]:
    """The plans that have anything to say: of finished pairs, or of those in which a run is unfinished."""
    plans = [group_plan(facts, first, second, epochs, finished) for first, second in GROUPS]
    plans += [_named_plan(name, facts, epochs, finished) for name in NAMED]
    # What is missing is said once, beside the finished pairs.
    return [plan for plan in plans if plan.parts or plan.left_out or (finished and plan.missing)]


def group_plan(facts: Facts, first: str, second: str, epochs: int, finished: bool = True) -> Plan:
    """For each network, its runs `network-group-seed` of both, seed by seed; controls, whose names say more, are none."""
    pairs: dict[str, list[Pair]] = {}
    for name, fact in facts.items():
        network, seed = fact["network"], fact["seed"]
        other = f"{network}-{second}-{seed}"
        if name == f"{network}-{first}-{seed}" and other in facts:
            pairs.setdefault(network, []).append((name, other))
    return _sorted_out(f"{first} - {second}", pairs, facts, epochs, finished)


def _named_plan(name: str, facts: Facts, epochs: int, finished: bool) -> Plan:
    varied, pairs = NAMED[name]
    missing = [run for pair in pairs.values() for run in pair if run not in facts]
    complete = {part: [pair] for part, pair in pairs.items() if not set(pair) & set(missing)}
    return _sorted_out(name, complete, facts, epochs, finished, varied, missing if complete else ())


def _sorted_out(
    name: str,
    found_pairs: Mapping[str, Sequence[Pair]],
    facts: Facts,
    epochs: int,
    finished: bool,
    varied: str = "",
    missing: Sequence[str] = (),
) -> Plan:
    """Pairs that may be compared apart from those that may not."""
    parts: dict[str, list[Pair]] = {}
    left_out = {}
    for part, pairs in found_pairs.items():
        for pair in pairs:
            if all(int(facts[run]["epochs"]) >= epochs for run in pair) != finished:
                continue
            if reason := incomparable(pair, facts, varied):
                left_out[" less ".join(pair)] = reason
            else:
                parts.setdefault(part, []).append(pair)
    return Plan(name, finished, parts, left_out, missing)


def incomparable(pair: Pair, facts: Facts, varied: str = "") -> str | None:
    """Why two runs are no pair, or None; `varied` is what may differ: `weights`, `epochs` or nothing."""
    idle = [run for run in pair if facts[run]["did_not_train"]]
    if idle:
        return f"did not train: {', '.join(idle)}"
    for key, what in (("epochs", "epochs"), ("weights", "starts")):
        ours, theirs = (str(facts[run][key]) for run in pair)
        if ours != theirs and key != varied:
            return f"unequal {what}: {ours} and {theirs}"
    return None


def _difference(kind: Kind, plan: Plan, metric: str, estimates: Mapping[str, Estimates], facts: Facts) -> Contrast:
    """One metric: the mean over seeds within a part, then over parts; a pair without this metric is left out."""
    left_out = dict(plan.left_out)
    parts: dict[str, list[Pair]] = {}
    for part, pair in ((part, pair) for part, pairs in plan.parts.items() for pair in pairs):
        if all(np.isfinite(estimates[run][metric][0]) for run in pair):
            parts.setdefault(part, []).append(pair)
        else:
            left_out[" less ".join(pair)] = "not measured"
    each = {part: [estimates[a][metric] - estimates[b][metric] for a, b in pairs] for part, pairs in parts.items()}
    by_part = {part: np.mean(differences, axis=0) for part, differences in each.items()}
    over = "; ".join(_over(part, parts[part], each[part], facts) for part in each) or "no pair"
    why = "; ".join(f"{pair} ({reason})" for pair, reason in left_out.items())
    missing = ", ".join(plan.missing)
    if not by_part:
        nothing = (np.nan, np.nan, np.nan, np.nan, None)
        return Contrast(kind, plan.name, plan.finished, metric, *nothing, over, why, missing)
    bounds = [bootstrap.interval(difference) for difference in by_part.values()]
    opposed = any(low > 0 for _, low, _ in bounds) and any(high < 0 for _, _, high in bounds)
    difference = np.mean(list(by_part.values()), axis=0)
    numbers = (*bootstrap.interval(difference), bootstrap.p_value(difference), None)
    return Contrast(kind, plan.name, plan.finished, metric, *numbers, over, why, missing, opposed)


def _over(part: str, pairs: Sequence[Pair], differences: Sequence[bootstrap.Floats], facts: Facts) -> str:
    """`custom_cnn +0.035 (15 epochs, 3 seeds: +0.037, +0.056, +0.012)`; a single pair without a part by its runs."""
    lengths = [dict.fromkeys(str(facts[run]["epochs"]) for run in pair) for pair in pairs]
    epochs = "; ".join(dict.fromkeys(f"{' and '.join(length)} epochs" for length in lengths))
    if not part:
        return f"{' less '.join(pairs[0])} ({epochs})"
    seeds = ", ".join(f"{difference[0]:+.3f}" for difference in differences)
    told = f"{epochs}, {len(pairs)} seeds: {seeds}" if len(pairs) > 1 else epochs
    return f"{part} {np.mean([difference[0] for difference in differences]):+.3f} ({told})"


def _adjusted(contrasts: Iterable[Contrast]) -> list[Contrast]:
    """With Holm's adjustment over the finished contrasts of the deciding metrics."""
    rows = list(contrasts)
    tested = [place for place, contrast in enumerate(rows) if contrast.finished and contrast.metric in DECIDING]
    for place, p in zip(tested, bootstrap.holm([rows[place].p for place in tested]), strict=True):
        rows[place] = replace(rows[place], p_holm=p)
    return rows
