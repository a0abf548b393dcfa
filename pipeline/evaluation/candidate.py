"""The candidate champion: a rule on stressed validation pictures, and nothing else. No test figure enters this file."""

from collections.abc import Mapping
from typing import Any

from pipeline.evaluation import bootstrap
from pipeline.evaluation.bootstrap import Floats
from pipeline.evaluation.run_metrics import number
from pipeline.settings import Release

RULE = (
    "best AUC on the stressed validation pictures, pooled; "
    "among runs within one standard error of it, the smallest network"
)
BYTES = {"float16": 2, "float32": 4}


def choose(stress_auc: Mapping[str, Floats], parameters: Mapping[str, int]) -> tuple[str, str, float]:
    """Apply the rule to replicates of the pooled AUC: the run, the best one, and the best one's standard error.

    Equal networks are told apart by the higher AUC, then by name.
    """
    best = min(stress_auc, key=lambda run: (-stress_auc[run][0], run))
    error = bootstrap.standard_error(stress_auc[best])
    near = [run for run in stress_auc if stress_auc[run][0] >= stress_auc[best][0] - error]
    return min(near, key=lambda run: (parameters[run], -stress_auc[run][0], run)), best, error


def name(
    stress_auc: Mapping[str, Floats],
    validation_auc: Mapping[str, Floats],
    facts: Mapping[str, Mapping[str, Any]],
    release: Release,
    weights: str,
) -> dict[str, Any]:
    """The contents of metrics/candidate.json: the rule's choice, and what may be released in its place.

    Where the choice itself may not be released, the rule is applied to the runs that may; `released` is None without
    one. The cost is the candidate's figure minus the released one's, paired, on validation patients, with interval.
    """
    parameters = {run: int(facts[run]["parameters"]) for run in stress_auc}
    chosen, best, error = choose(stress_auc, parameters)
    barred = {run: reason for run in stress_auc if (reason := _barred(facts[run], release, weights))}
    allowed = {run: value for run, value in stress_auc.items() if run not in barred}
    considered = [
        {
            "run": run,
            "value": number(value[0]),
            "parameters": parameters[run],
            "within_one_standard_error": bool(value[0] >= stress_auc[best][0] - error),
            "not_released_because": barred.get(run),
        }
        for run, value in sorted(stress_auc.items(), key=lambda item: (-item[1][0], item[0]))
    ]
    released = None
    if allowed:
        run = chosen if chosen in allowed else choose(allowed, parameters)[0]
        released = {
            "run": run,
            "value": number(allowed[run][0]),
            "cost_stress_auc": _difference(stress_auc[chosen], stress_auc[run]),
            "cost_validation_auc": _difference(validation_auc[chosen], validation_auc[run]),
        }
    return {
        "rule": RULE,
        "run": chosen,
        "value": number(stress_auc[chosen][0]),
        "best": best,
        "best_value": number(stress_auc[best][0]),
        "standard_error": number(error),
        "considered": considered,
        "released": released,
        "dataset": facts[chosen]["dataset"],
    }


def _barred(facts: Mapping[str, Any], release: Release, weights: str) -> str | None:
    """Why a run may not be released, or None."""
    if any((start.network, start.weights) == (facts["network"], facts["weights"]) for start in release.exclude):
        return f"{facts['network']} from {facts['weights']} weights is excluded"
    megabytes = facts["parameters"] * BYTES[weights] / 1e6
    if megabytes > release.max_megabytes:
        return f"{megabytes:.1f} MB as {weights}, more than {release.max_megabytes:g}"
    return None


def _difference(ours: Floats, theirs: Floats) -> list[float | str]:
    return [number(value) for value in bootstrap.interval(ours - theirs)]
