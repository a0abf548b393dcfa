"""Stage `evaluate`: the prediction files of every run -> its metrics with intervals, and its curves."""

import logging
from typing import Any

from pipeline import paths, settings
from pipeline.command import run
from pipeline.data.parallel import in_order
from pipeline.evaluation import curves, predictions, run_metrics
from pipeline.files import atomic_folder, write_json
from pipeline.schema import read_yaml

log = logging.getLogger("evaluate")


def main() -> None:
    """Write metrics/runs/ and plots/curves/."""
    chosen = settings.load()
    options = chosen.evaluate
    runs = predictions.read_all(paths.PREDICTIONS)
    samples = run_metrics.draw(next(iter(runs.values())), options)
    with atomic_folder(paths.METRICS / "runs") as metrics, atomic_folder(paths.PLOTS / "curves") as plots:

        def measured(predicted: predictions.Predictions) -> dict[str, Any]:
            return run_metrics.summary(predicted, *run_metrics.measure(predicted, samples, options))

        for summary in in_order(measured, runs.values(), len(runs), "evaluate", unit="run"):
            name = summary["run"]
            write_json(metrics / f"{name}.json", summary)
            if summary["did_not_train"]:
                log.warning("%s did not train%s", name, advice(chosen, name))
        curves.write(plots, runs.values(), samples)
    log.info("%d runs in %s", len(runs), paths.METRICS / "runs")


def advice(options: settings.Settings, name: str) -> str:
    """For a run of params.yaml that did not train, the entry of train.runs that tries again at a tenth of its rate."""
    if name not in options.runs:
        return ""
    entry = read_yaml(paths.PARAMS)["train"]["runs"][name]
    rate = "finetune_learning_rate" if options.runs[name].weights == "imagenet" else "learning_rate"
    tenth = f"{options.runs[name].starting_rate / 10:.15f}".rstrip("0")  # YAML takes 1e-05 for a word
    rest = ", ".join(f"{key}: {value}" for key, value in entry.items() if key != rate)
    return f"; to try again at a tenth of its rate, add to train.runs: {name}-low: {{{rest}, {rate}: {tenth}}}"


if __name__ == "__main__":
    run("evaluate", main)
