"""Stage `compare`: metrics of all runs -> the study's tables and figures, the contrasts, the candidate's name."""

import logging
from typing import Any

from pipeline import paths, settings
from pipeline.command import run
from pipeline.data.parallel import in_order
from pipeline.data.tables import write_table
from pipeline.errors import ProjectError
from pipeline.evaluation import candidate, contrasts, cross_fitting, predictions, published, run_metrics, tables
from pipeline.figures import study_figures
from pipeline.files import atomic_folder, read_json, write_json

log = logging.getLogger("compare")


def main() -> None:
    """Write metrics/table2.csv, table3.csv, contrasts.csv, study.json, candidate.json and plots/study/."""
    options = settings.load()
    runs = predictions.read_all(paths.PREDICTIONS)
    metrics = _metrics(runs)
    for unknown in sorted(set(runs) - set(options.table) - {settings.BASELINE}):
        log.warning("%s is no run of params.yaml and is left out", unknown)
    planned = {name: runs[name] for name in options.table if name in runs}
    if not planned:
        raise ProjectError("predictions/ holds no run of params.yaml: train one first (make repro)")

    samples = run_metrics.draw(next(iter(runs.values())), options.evaluate)

    def headline(predicted: predictions.Predictions) -> run_metrics.Estimates:
        return run_metrics.headline(predicted, samples, options.evaluate)

    measured = in_order(headline, planned.values(), len(planned), "compare", unit="run")
    headlines = dict(zip(planned, measured, strict=True))
    facts = {
        name: run_predictions.facts | {"did_not_train": metrics[name]["did_not_train"]}
        for name, run_predictions in planned.items()
    }

    left_out = _left_out(planned, metrics)
    sample, folds, seed = samples.validation, options.gate.folds, options.evaluate.seed
    scores = {
        name: cross_fitting.scores(run_predictions.validation, run_predictions.unseen, sample, folds, seed)
        for name, run_predictions in planned.items()
        if name not in left_out
    }
    named = candidate.name(
        scores,
        {name: headlines[name]["validation_auc"] for name in scores},
        facts,
        left_out,
        options.compare.release,
        options.package.weights,
    )
    write_json(paths.METRICS / "candidate.json", named)

    epochs = options.train.common.epochs
    rows = contrasts.planned(headlines, facts, epochs) + contrasts.release(named, headlines, facts)
    rows += contrasts.winner("stress_auc", headlines, facts, epochs)
    write_table(paths.METRICS / "contrasts.csv", tables.CONTRASTS, tables.contrast_rows(rows))

    baseline = metrics.get(settings.BASELINE)
    for number, of_study in (("2", True), ("3", False)):
        shown = [run for run in options.table.values() if (run.network == published.OWN) == of_study]
        table = tables.rows(shown, metrics, baseline, epochs)
        write_table(paths.METRICS / f"table{number}.csv", tables.columns(), table)
    trained = {name: metrics[name] for name in options.table if name in metrics}
    write_json(paths.METRICS / "study.json", tables.study(named["run"], trained))
    with atomic_folder(paths.PLOTS / "study") as folder:
        study_figures.draw(folder, planned, options.table, metrics, samples, named["run"], list(options.groups.sets))
    log.info("candidate: %s (AUC %s on validation under unseen changes)", named["run"], named["value"])


def _left_out(planned: dict[str, predictions.Predictions], metrics: dict[str, Any]) -> dict[str, str]:
    """Why a run can be no candidate: it did not train (unless none did), or was never measured on the family that decides."""
    none_trained = all(metrics[name]["did_not_train"] for name in planned)
    reasons = {name: candidate.NOT_KEPT for name, predicted in planned.items() if not predicted.unseen}
    return reasons | {name: "did not train" for name in planned if metrics[name]["did_not_train"] and not none_trained}


def _metrics(runs: dict[str, predictions.Predictions]) -> dict[str, Any]:
    """What `evaluate` wrote of each run."""
    metrics = {}
    for name in runs:
        path = paths.METRICS / "runs" / f"{name}.json"
        metrics[name] = read_json(path, "run evaluate first (dvc repro evaluate)")
    return metrics


if __name__ == "__main__":
    run("compare", main)
