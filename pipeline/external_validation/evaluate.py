"""A hospital's own images through the champion: metrics with intervals, rejections, calibration, a local threshold.

    python -m pipeline.external_validation.evaluate SOURCE LABELS [--name NAME]

SOURCE is a folder of JPEG, PNG, TIFF or DICOM files. LABELS is a CSV with the columns `file` (relative to SOURCE), `label`
(NORMAL or PNEUMONIA), `patient`, and, if known, `view`. The metrics go to reports/site/, which git ignores, or with a NAME to
metrics/site/NAME.json, to be kept; the table of every image to reports/site/. Nothing leaves the machine, and nothing is
promoted.
"""

import argparse
from pathlib import Path
from typing import Any

from pipeline import paths, settings
from pipeline.command import run
from pipeline.external_validation import answers, labels, results
from pipeline.external_validation.measurement import Case, measure
from pipeline.files import write_json
from pipeline.serving import model

POINTS = ("sensitive", "specific")
SHOWN = ("auc", "sensitivity_at_sensitive", "specificity_at_sensitive", "log_loss")


def main() -> None:
    """Measure, write metrics and table, and print the metrics that matter most."""
    parser = argparse.ArgumentParser(prog="evaluate-site", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="a folder of images")
    parser.add_argument("labels", type=Path, help="a CSV: file, label, patient, view")
    parser.add_argument("--name", help="keep the metrics in metrics/site/NAME.json")
    chosen = parser.parse_args()
    options = settings.load()
    report_path, table = (place("site", chosen.source, chosen.name) for place in (results.metrics, results.table))
    labelled = labels.read(chosen.source, chosen.labels)
    champion = model.load(model.champion_version(), options.serve.threads)
    images = [radiograph.image for radiograph in labelled]
    answered = answers.answer_all(champion, images, options.serve, table)
    answers.write(table, images, answered)
    cases = [Case(radiograph, answer) for radiograph, answer in zip(labelled, answered, strict=True)]
    report = measure(cases, {point: champion.threshold(point) for point in POINTS}, options.evaluate)
    report |= {"version": champion.version, "dataset": champion.contract["dataset"], "name": report_path.stem}
    write_json(report_path, report)
    answers.forget(champion, options.serve, table)
    _print(report)
    written = " and ".join(str(path.relative_to(paths.ROOT)) for path in (report_path, table))
    print(f"written to {written}; research software, not a medical device")


def _print(report: dict[str, Any]) -> None:
    if report["copies"]["files"]:
        print(
            "{files} files are copies of others, {under_both_labels} of them under both labels".format(
                **report["copies"]
            )
        )
    print(f"{report['films']} images of {report['patients']} patients; refused: {report['refusals'] or 'none'}")
    for name in SHOWN:
        value, low, high = report["accepted"][name]
        print(f"{name}: {'undefined' if value is None else value} ({_bound(low)} to {_bound(high)})")


def _bound(value: float | None) -> str:
    return "undefined" if value is None else str(value)


if __name__ == "__main__":
    run("evaluate-site", main)
