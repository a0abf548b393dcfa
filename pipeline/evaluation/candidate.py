"""The candidate champion: a rule on stressed validation images, and nothing else. No test metric enters this file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap
from pipeline.evaluation.bootstrap import Floats
from pipeline.evaluation.cross_fitting import Scores
from pipeline.evaluation.run_metrics import number
from pipeline.settings import Release

RULE = (
    "best AUC on the validation images under changes that no recipe trains on, pooled; among runs within one standard "
    "error of its AUC and of its log loss (recalibrated out of fold), the smallest network"
)
NOT_KEPT = "network not kept"  # nor a graph of it: it cannot be asked about these changes
BYTES = {"float16": 2, "float32": 4}


@dataclass(frozen=True)
class Choice:
    """The run that the rule chooses, the one with the best AUC, its standard errors, and the runs within them."""

    run: str
    best: str
    auc_error: float
    log_loss_error: float
    near: frozenset[str]


def choose(scores: Mapping[str, Scores], parameters: Mapping[str, int]) -> Choice:
    """Apply the rule (one standard error: Breiman et al. 1984).

    Equal networks are told apart by the higher AUC, then by name.
    """
    best = min(scores, key=lambda run: (-scores[run].auc[0], run))
    top = scores[best]
    auc_error, log_loss_error = bootstrap.standard_error(top.auc), bootstrap.standard_error(top.log_loss)
    near = frozenset(
        run
        for run, score in scores.items()
        if score.auc[0] >= top.auc[0] - auc_error and score.log_loss[0] <= top.log_loss[0] + log_loss_error
    )
    chosen = min(near, key=lambda run: (parameters[run], -scores[run].auc[0], run))
    return Choice(chosen, best, auc_error, log_loss_error, near)


def name(
    scores: Mapping[str, Scores],
    validation_auc: Mapping[str, Floats],
    facts: Mapping[str, Mapping[str, Any]],
    left_out: Mapping[str, str],
    release: Release,
    weights: str,
) -> dict[str, Any]:
    """The contents of metrics/candidate.json: the rule's choice, and what may be released in its place.

    `scores` holds the runs that can be candidates, `left_out` the others, each with the reason. Where the choice itself
    may not be released, the rule is applied to the runs that may; `released` is None without one. The cost is the
    candidate's metric minus the released one's, paired, on validation patients, with interval.

    Raises:
        ProjectError: no run can be a candidate.
    """
    if not scores:
        reasons = "; ".join(f"{run}: {reason}" for run, reason in sorted(left_out.items()))
        raise ProjectError(
            f"no run can be the candidate ({reasons}); `dvc repro stress` measures runs whose network is kept"
        )
    parameters = {run: int(facts[run]["parameters"]) for run in scores}
    choice = choose(scores, parameters)
    barred = {run: reason for run in scores if (reason := _barred(facts[run], release, weights))}
    considered = [
        {
            "run": run,
            "value": number(score.auc[0]),
            "log_loss": number(score.log_loss[0]),
            "parameters": parameters[run],
            "within_one_standard_error": run in choice.near,
            "not_released_because": barred.get(run),
        }
        for run, score in sorted(scores.items(), key=lambda item: (-item[1].auc[0], item[0]))
    ]
    top = scores[choice.best]
    return {
        "rule": RULE,
        "run": choice.run,
        "value": number(scores[choice.run].auc[0]),
        "log_loss": number(scores[choice.run].log_loss[0]),
        "best": choice.best,
        "best_value": number(top.auc[0]),
        "best_log_loss": number(top.log_loss[0]),
        "standard_error": number(choice.auc_error),
        "log_loss_standard_error": number(choice.log_loss_error),
        "considered": considered,
        "left_out": [{"run": run, "because": reason} for run, reason in sorted(left_out.items())],
        "released": _released(choice.run, scores, validation_auc, parameters, barred),
        "dataset": facts[choice.run]["dataset"],
    }


def _released(
    chosen: str,
    scores: Mapping[str, Scores],
    validation_auc: Mapping[str, Floats],
    parameters: Mapping[str, int],
    barred: Mapping[str, str],
) -> dict[str, Any] | None:
    """The rule's choice among the runs that may be released, and what it costs; None where none may."""
    allowed = {run: score for run, score in scores.items() if run not in barred}
    if not allowed:
        return None
    run = chosen if chosen in allowed else choose(allowed, parameters).run
    return {
        "run": run,
        "value": number(allowed[run].auc[0]),
        "cost_unseen_auc": _difference(scores[chosen].auc, scores[run].auc),
        "cost_unseen_log_loss": _difference(scores[chosen].log_loss, scores[run].log_loss),
        "cost_validation_auc": _difference(validation_auc[chosen], validation_auc[run]),
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
