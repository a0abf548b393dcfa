"""The gate asked of every run of the study, as a candidate against the serving champion: does it decide well?

    python -m pipeline.registry.gate_check

Reads predictions/ and the champions' folders, and writes metrics/gate-check.csv, a row a run. Its rule and its margins were
fixed before, by simulation (benchmarks/gate_power.py). The columns of the official test are what no rule reads: they are
printed with their counts, and change nothing. A run that was not measured on the family that decides is listed and counted
in no share.
"""

import logging
import sys
from collections.abc import Mapping

import numpy as np

from pipeline import paths, settings
from pipeline.command import run as run_command
from pipeline.data.tables import write_table
from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap, cross_fitting, predictions
from pipeline.evaluation.bootstrap import Floats
from pipeline.evaluation.predictions import Predictions, Split
from pipeline.registry import contract, record, rules, validation_predictions
from pipeline.registry.rules import Rule
from pipeline.registry.validation_predictions import Validation
from pipeline.settings import Settings

log = logging.getLogger("gate-check")

TABLE = paths.METRICS / "gate-check.csv"
DIFFERENCES = ("stressed_auc", "stressed_log_loss", "clean_auc", "clean_log_loss", "test_auc")
COLUMNS = ["run", "verdict", "reasons", *(f"{name}{end}" for name in DIFFERENCES for end in ("", "_low", "_high"))]
PASSES, REJECTED, NOT_MEASURED, ITSELF = "passes", "rejected", "not measured", "the champion's own run"
# Weights stored as float16 moved no logit of the validation images by more than 0.15; another seed moves some by 11.
SAME_NETWORK = 0.5
Row = dict[str, str]


def main() -> None:
    """Write the table, and print what it says."""
    options = settings.load()
    version = record.champion()
    if version is None:
        raise ProjectError("there is no champion to ask the gate against: `make promote` first")
    champions = _champions(version)
    runs = {name: run for name, run in predictions.read_all(paths.PREDICTIONS).items() if name in options.table}
    run_of_champion = contract.read(paths.CHAMPIONS / version)["run"]
    test = _own_test(runs.get(run_of_champion), champions[version])
    rows = [_row(run, champions, version, run_of_champion, test, options) for run in runs.values()]
    write_table(TABLE, COLUMNS, rows)
    sys.stdout.write(summary(rows) + "\n")


def _champions(version: str) -> dict[str, Validation]:
    """What each champion on record of the champion's data set said."""
    dataset = contract.read(paths.CHAMPIONS / version)["dataset"]
    known = dict.fromkeys(event["version"] for event in record.events())
    return {
        name: validation_predictions.measured(paths.CHAMPIONS / name)
        for name in known
        if contract.read(paths.CHAMPIONS / name)["dataset"] == dataset
    }


def _own_test(run: Predictions | None, champion: Validation) -> Split | None:
    """The champion's answers to the official test: those of its run, unless that was trained anew since."""
    if run is None or run.validation.paths != champion.clean.paths:
        log.warning("predictions/ holds no run of the champion: nothing is said of the official test")
        return None
    if np.abs(run.validation.logits - champion.clean.logits).max() <= SAME_NETWORK:
        return run.test
    log.warning("%s was trained anew since it became champion: nothing is said of the official test", run.name)
    return None


def _row(
    run: Predictions,
    champions: Mapping[str, Validation],
    version: str,
    run_of_champion: str,
    test: Split | None,
    options: Settings,
) -> Row:
    candidate = Validation(run.validation, run.stress, run.unseen)
    verdict, reasons = _verdict(candidate, champions, version, options)
    differs = differences(candidate, champions[version], options)
    if test is not None:
        differs["test_auc"] = _test_difference(run.test, test, options)
    row = {
        "run": run.name,
        "verdict": ITSELF if run.name == run_of_champion and test is not None else verdict,
        "reasons": reasons,
    }
    for name in DIFFERENCES:
        value: tuple[float | str, ...] = bootstrap.interval(differs[name]) if name in differs else ("", "", "")
        row |= {f"{name}{end}": _number(x) for end, x in zip(("", "_low", "_high"), value, strict=True)}
    return row


def _verdict(
    candidate: Validation, champions: Mapping[str, Validation], version: str, options: Settings
) -> tuple[str, str]:
    """What the gate says, and the rules that the run fails."""
    if not candidate.unseen:
        return NOT_MEASURED, "network not kept"
    _, decided = rules.decide(candidate, dict(champions), version, options.gate, options.evaluate)
    failed = [rule for rule in decided if not rule.passed]
    return (REJECTED if failed else PASSES), "; ".join(map(_reason, failed))


def _reason(rule: Rule) -> str:
    return rule.name if rule.bound is None else f"{rule.name} (bound {rule.bound:.4f}; limit {rule.limit:g})"


def differences(candidate: Validation, champion: Validation, options: Settings) -> dict[str, Floats]:
    """Candidate less champion on the validation images that both have: replicates, stressed where that was measured."""
    ours, theirs = rules.shared_images(candidate, champion)
    gate, evaluate = options.gate, options.evaluate
    sample = bootstrap.draw(theirs.clean.labels, theirs.clean.patients, evaluate.resamples, evaluate.seed)
    families = {"clean": ({"clean": ours.clean.logits}, {"clean": theirs.clean.logits})}
    if ours.unseen:
        families["stressed"] = (ours.unseen, theirs.unseen)
    values: dict[str, Floats] = {}
    for name, pair in families.items():
        first, second = (
            cross_fitting.scores(theirs.clean, logits, sample, gate.folds, evaluate.seed) for logits in pair
        )
        values |= {f"{name}_auc": first.auc - second.auc, f"{name}_log_loss": first.log_loss - second.log_loss}
    return values


def _test_difference(ours: Split, theirs: Split, options: Settings) -> Floats:
    """AUC on the official test, run less champion, paired by patient."""
    sample = bootstrap.draw(ours.labels, ours.patients, options.evaluate.resamples, options.evaluate.seed + 1)
    return bootstrap.auc(ours.labels, ours.logits, sample) - bootstrap.auc(theirs.labels, theirs.logits, sample)


def summary(rows: list[Row]) -> str:
    """The counts, in words: of runs that were measured, and what the official test says of either verdict."""
    lines = [f"{row['run']:32} {row['verdict']:24} {row['reasons']}" for row in rows]
    of = {verdict: [row for row in rows if row["verdict"] == verdict] for verdict in (PASSES, REJECTED, NOT_MEASURED)}
    measured = len(of[PASSES]) + len(of[REJECTED])
    lines += [
        f"{measured} runs were measured, besides the champion's own: {len(of[PASSES])} pass, "
        f"{len(of[REJECTED])} are rejected.",
        f"{len(of[NOT_MEASURED])} were not measured on the family that decides, and are counted in no share.",
        "The official test, which no rule reads (AUC, run less champion, 95 % interval by patient):",
    ]
    for verdict in (PASSES, REJECTED):
        known = [row for row in of[verdict] if row["test_auc"]]
        worse = sum(float(row["test_auc_high"]) < 0 for row in known)
        better = sum(float(row["test_auc_low"]) > 0 for row in known)
        same = len(known) - worse - better
        lines.append(
            f"of {len(known)} runs ({verdict}) {worse} rank it worse than the champion, {same} are not told apart, "
            f"{better} rank it better."
        )
    return "\n".join(lines)


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.5f}"


if __name__ == "__main__":
    run_command("gate-check", main)
