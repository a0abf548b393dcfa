"""Stage `evaluate`: the prediction files of every run -> its figures with intervals, and its curves."""

import logging

from tqdm import tqdm

from pipeline import paths, second_try, settings
from pipeline.command import run
from pipeline.evaluation import curves, measure, predictions
from pipeline.files import atomic_folder, write_json

log = logging.getLogger("evaluate")


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
                log.warning("%s learned nothing%s", name, advice(whole, name))
            curves.write_roc(roc, one)
            curves.write_reliability(reliability, one, samples)
    log.info("%d runs in %s", len(runs), paths.METRICS / "runs")


def advice(whole: settings.Settings, name: str) -> str:
    """For a collapsed run of params.yaml that has no second try, how to get it."""
    if not second_try.is_wanted(whole, name):
        return ""
    return f"; `make study` trains it again beside it, and so does this line of train.runs: {second_try.line(whole.runs[name])}"


if __name__ == "__main__":
    run("evaluate", main)
