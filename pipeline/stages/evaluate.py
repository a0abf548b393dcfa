"""Stage `evaluate`: the prediction files of every run -> its figures with intervals, and its curves."""

import logging

from tqdm import tqdm

from pipeline import paths, settings
from pipeline.command import run
from pipeline.evaluation import curves, measure, predictions
from pipeline.files import atomic_folder, write_json

log = logging.getLogger("evaluate")


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
            curves.write_roc(roc, one)
            curves.write_reliability(reliability, one, samples)
    log.info("%d runs in %s", len(runs), paths.METRICS / "runs")


if __name__ == "__main__":
    run("evaluate", main)
