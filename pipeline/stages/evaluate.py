"""Stage `evaluate`: the prediction files of every run -> its figures with intervals, and its curves."""

import logging
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from pipeline import paths, settings
from pipeline.command import run
from pipeline.evaluation import curves, measure, predictions
from pipeline.files import atomic_folder, write_json

log = logging.getLogger("evaluate")

LOWER_RATE = 0.0001  # of a second try, where the study's 0.001 taught a network nothing


def main() -> None:
    """Write metrics/runs/, plots/roc/ and plots/reliability/."""
    options = settings.load().evaluate
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
                log.warning(
                    "%s learned nothing; to run it again beside it, add to train.runs: %s", name, again(one.facts)
                )
            curves.write_roc(roc, one)
            curves.write_reliability(reliability, one, samples)
    log.info("%d runs in %s", len(runs), paths.METRICS / "runs")


def again(facts: Mapping[str, Any]) -> str:
    """The line of `train.runs` that trains a collapsed run once more at a tenth of the study's rate."""
    line = {key: facts[key] for key in ("network", "group", "seed", "weights", "epochs")}
    rate = "finetune_learning_rate" if facts["weights"] == "imagenet" else "learning_rate"
    rest = ", ".join(f"{key}: {value}" for key, value in (line | {rate: LOWER_RATE}).items())
    return f"{facts['run']}-low: {{{rest}}}"


if __name__ == "__main__":
    run("evaluate", main)
