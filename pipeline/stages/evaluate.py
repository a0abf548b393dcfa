"""Stage `evaluate`: the prediction files of every run -> its figures with intervals, and its curves."""

import logging

import yaml
from tqdm import tqdm

from pipeline import paths, settings
from pipeline.command import run
from pipeline.evaluation import curves, measure, predictions
from pipeline.files import atomic_folder, write_json

log = logging.getLogger("evaluate")

TENTH = 0.1  # of the learning rate that taught a network nothing, for a second try


def main() -> None:
    """Write metrics/runs/, plots/roc/ and plots/reliability/."""
    whole = settings.load()
    options = whole.evaluate
    runs = predictions.read_all(paths.PREDICTIONS)
    samples = measure.draw(next(iter(runs.values())), options)
    with (
        atomic_folder(paths.METRICS / "runs") as metrics,
        atomic_folder(paths.PLOTS / "roc") as roc,
        atomic_folder(paths.PLOTS / "reliability") as reliability,
    ):
        for name, one in tqdm(runs.items(), unit="run", desc="evaluate"):
            figures, facts = measure.measure(one, samples, options)
            write_json(metrics / f"{name}.json", measure.summary(one, figures, facts))
            if facts["collapsed"]:
                log.warning("%s learned nothing%s", name, advice(whole.runs.get(name)))
            curves.write_roc(roc, one)
            curves.write_reliability(reliability, one, samples)
    log.info("%d runs in %s", len(runs), paths.METRICS / "runs")


def advice(run: settings.Run | None) -> str:
    """For a collapsed run of params.yaml, the line of `train.runs` that trains it beside it at a tenth of its rate."""
    if run is None:
        return ""
    raw = yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8"))["train"]["runs"][run.name]
    rate = "finetune_learning_rate" if run.weights == "imagenet" else "learning_rate"
    line = raw | {rate: float(f"{run.starting_rate * TENTH:.6g}")}
    rest = ", ".join(f"{key}: {value}" for key, value in line.items())
    return f"; to run it again beside it, add to train.runs: {run.name}-low: {{{rest}}}"


if __name__ == "__main__":
    run("evaluate", main)
