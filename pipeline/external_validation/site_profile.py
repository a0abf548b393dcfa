"""A hospital's own profile of the champion, from its own labelled images: recalibration, thresholds, and what they change.

    python -m pipeline.external_validation.site_profile SOURCE LABELS --name NAME [--sensitivity .95] [--specificity .95]

SOURCE and LABELS are those of `pipeline.external_validation.evaluate`. The profile goes to models/profiles/NAME.json, which
`SERVE_PROFILE=NAME make serve` answers by; what was measured also to metrics/site_profiles/NAME.json, and the table of every
image to reports/site_profiles/. What is served is fitted on all patients; what is told of it is measured on patients that had
no part in the fit, a tenth at a time. The images should be a series as it comes: their share of pneumonia is taken for the
site's.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths, settings
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap, calibration, site_fit
from pipeline.evaluation.bootstrap import Bools, Floats
from pipeline.evaluation.predictions import Split
from pipeline.evaluation.site_fit import Asked, Fit, Reading
from pipeline.external_validation import answers, labels, results
from pipeline.external_validation.answers import REJECTED, Answer
from pipeline.external_validation.labels import Labelled
from pipeline.files import write_json
from pipeline.labels import CLASSES
from pipeline.outcomes import Thresholds
from pipeline.serving import drift, model, profile
from pipeline.settings import Evaluate

SHOWN = ("log_loss", "sensitivity_at_lower", "specificity_at_lower", "sensitivity_at_upper", "specificity_at_upper")


def main() -> None:
    """Answer the images, fit, measure out of fold, write profile and report, and print what changes."""
    parser = argparse.ArgumentParser(prog="site-profile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="a folder of images")
    parser.add_argument("labels", type=Path, help="a CSV: file, label, patient, view")
    parser.add_argument("--name", required=True, help="the profile goes to models/profiles/NAME.json")
    parser.add_argument("--sensitivity", type=float, help="what the site asks for; evaluate.sensitive where not given")
    parser.add_argument("--specificity", type=float, help="what the site asks for; evaluate.specific where not given")
    chosen = parser.parse_args()
    options = settings.load()
    name = results.name_of(chosen.source, chosen.name)
    asked = _asked(chosen.sensitivity, chosen.specificity, options.evaluate)
    labelled = labels.read(chosen.source, chosen.labels)
    _expect_patients(_split(labelled, [0.5] * len(labelled)), asked, "are labelled")
    champion = model.load(model.champion_version(), options.serve.threads)
    table = results.table("site_profiles", chosen.source, name)
    answered = answers.answer_all(champion, [radiograph.image for radiograph in labelled], options.serve, table)
    answers.write(table, [radiograph.image for radiograph in labelled], answered)
    content = make(labelled, answered, champion.thresholds, asked, options.evaluate)
    made = profile.write({"name": name, "champion": champion.version, **content})
    write_json(
        results.metrics("site_profiles", chosen.source, name),
        {**made.model_dump(exclude={"scores"}), "dataset": champion.contract["dataset"]},
    )
    answers.forget(champion, options.serve, table)
    _print(made)


def make(
    labelled: Sequence[Labelled], answered: Sequence[Answer], thresholds: Thresholds, asked: Asked, options: Evaluate
) -> dict[str, Any]:
    """The content of a profile, but for its name and its champion.

    Args:
        labelled: the site's images.
        answered: the champion's answer to each.
        thresholds: the champion's own, on the score: what holds before.
        asked: what the site asks for.
        options: how chance is measured.

    Raises:
        ProjectError: too few patients were answered, or the score does not rank the site's images.
    """
    used = [
        (radiograph, answer)
        for radiograph, answer in zip(labelled, answered, strict=True)
        if answer.status == "answered"
    ]
    split = _split([radiograph for radiograph, _ in used], [answer.score or 0.0 for _, answer in used])
    _expect_patients(split, asked, "got an answer")
    sample = bootstrap.draw(split.labels, split.patients, options.resamples, options.seed)
    auc = bootstrap.interval(bootstrap.auc(split.labels, split.logits, sample))
    if not auc[1] > 0.5:
        raise ProjectError(
            f"the score does not rank these images better than chance (AUC {auc[0]:.2f}, 95 % interval {auc[1]:.2f} to "
            f"{auc[2]:.2f}): no profile can mend that"
        )
    normal, ill = site_fit.patients(split)
    with_slope = min(normal, ill) >= site_fit.SLOPE_PATIENTS
    fitted = site_fit.fit(split, asked, with_slope)
    champions = [np.full(len(used), _logits([limit.score])[0]) for limit in thresholds]
    before = Reading(split.logits, *champions)
    after = site_fit.cross_fit(split, asked, with_slope, options.seed)
    views = np.array([radiograph.view for radiograph, _ in used])
    share = site_fit.prevalence(split.labels, split.patients, options.resamples, options.seed)
    return {
        "images": len(used),
        "patients": {"normal": normal, "pneumonia": ill},
        "recalibration": {"intercept": fitted.recalibration.intercept, "slope": fitted.recalibration.slope},
        "thresholds": _thresholds(fitted, asked),
        "prevalence": share[0],
        "scores": _tenths(split.logits),
        "report": {
            "asked": {"sensitivity": asked.sensitivity, "specificity": asked.specificity},
            "with_slope": with_slope,
            "crossed": fitted.crossed,
            "thresholds_before": {name: limit.score for name, limit in thresholds._asdict().items()},
            "patients_needed": {
                "at_least": site_fit.needed(asked),
                "for_a_slope": site_fit.SLOPE_PATIENTS,
                "advised": site_fit.advised(asked),
            },
            "prevalence": _numbers(share, True),
            "auc": _numbers(auc, True),
            "input_check": _refusals(labelled, answered, options),
            "all": _changes(split, before, after, np.ones(len(used), dtype=bool), options),
            "views": {
                view: _changes(split, before, after, views == view, options)
                for view in sorted(set(views.tolist()))
                if len(set(views.tolist())) > 1
            },
        },
    }


def _asked(sensitivity: float | None, specificity: float | None, options: Evaluate) -> Asked:
    given = {
        "SENSITIVITY": options.sensitive if sensitivity is None else sensitivity,
        "SPECIFICITY": options.specific if specificity is None else specificity,
    }
    for name, share in given.items():
        if not 0.5 <= share <= 0.99:
            raise ProjectError(f"{name}: {share:g} must lie from 0.5 to 0.99")
    return Asked(*given.values())


def _expect_patients(split: Split, asked: Asked, what: str) -> None:
    """Are there enough patients of each class?"""
    counts = dict(zip(CLASSES, site_fit.patients(split), strict=True))
    least = site_fit.needed(asked)
    if min(counts.values()) < least:
        had = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise ProjectError(
            f"a profile needs at least {least} patients of each class, and {site_fit.advised(asked)} are advised; images of "
            f"{had} {what}. No profile was made"
        )


def _split(labelled: Sequence[Labelled], scores: Sequence[float]) -> Split:
    return Split(
        [radiograph.image.name for radiograph in labelled],
        np.array([radiograph.pneumonia for radiograph in labelled], dtype=bool),
        ["unknown"] * len(labelled),
        [radiograph.patient for radiograph in labelled],
        _logits(scores),
    )


def _logits(scores: Sequence[float]) -> Floats:
    held = np.array(scores, dtype=np.float64).clip(profile.ALMOST, 1 - profile.ALMOST)
    return np.log(held) - np.log1p(-held)


def _thresholds(fitted: Fit, asked: Asked) -> dict[str, Any]:
    """Both in order of score, each with what it was fixed by."""
    points = [(fitted.sensitive, "sensitivity", asked.sensitivity), (fitted.specific, "specificity", asked.specificity)]
    said = [
        {
            "score": float(calibration.sigmoid(np.float64(logit))),
            "criterion": f"{rate} of at least {share:g} expected of this site's next image",
        }
        for logit, rate, share in sorted(points)
    ]
    return dict(zip(("lower", "upper"), said, strict=True))


def _tenths(logits: Floats) -> dict[str, list[Any]]:
    scores = calibration.sigmoid(logits)
    edges = drift.tenths(scores)
    return {"edges": edges.tolist(), "counts": drift.counts(edges, scores).tolist()}


def _refusals(labelled: Sequence[Labelled], answered: Sequence[Answer], options: Evaluate) -> dict[str, Any]:
    """What the input check rejects of all images and of each class, and every other refusal."""
    truth = np.array([radiograph.pneumonia for radiograph in labelled], dtype=bool)
    patients = [radiograph.patient for radiograph in labelled]
    rejected = np.array([answer.error == REJECTED for answer in answered], dtype=np.float64)
    sample = bootstrap.draw(truth, patients, options.resamples, options.seed)
    parts = {"all": np.ones(len(truth), dtype=bool), "normal": ~truth, "pneumonia": truth}
    shares = {
        name: _numbers(bootstrap.mean(rejected[part], sample.take(part)), len(set(patients)) > 1)
        for name, part in parts.items()
    }
    counts = Counter(answer.error for answer in answered if answer.error)
    return {"images": len(labelled), "share_rejected": shares, "refusals": dict(sorted(counts.items()))}


def _changes(split: Split, before: Reading, after: Reading, part: Bools, options: Evaluate) -> dict[str, Any]:
    """Each metric before and after, and the difference, paired by patient: value, low, high; null where undefined."""
    truth, logits = split.labels[part], split.logits[part]
    names = [patient for patient, in_part in zip(split.patients, part, strict=True) if in_part]
    sample = bootstrap.draw(truth, names, options.resamples, options.seed)
    then, now = (site_fit.estimates(truth, logits, _of(reading, part), sample) for reading in (before, after))
    certain = all(
        len({name for name, in_part in zip(names, truth, strict=True) if in_part == label}) > 1 for label in set(truth)
    )
    told: dict[str, Any] = {"normal": int(np.sum(~truth)), "pneumonia": int(np.sum(truth))}
    for metric in then:
        values = {"before": then[metric], "after": now[metric], "change": now[metric] - then[metric]}
        told[metric] = {name: _numbers(bootstrap.interval(replicates), certain) for name, replicates in values.items()}
    return told


def _of(reading: Reading, part: Bools) -> Reading:
    return Reading(reading.recalibrated[part], reading.lower[part], reading.upper[part])


def _numbers(estimate: Sequence[float], certain: bool) -> list[float | None]:
    value, *bounds = (round(float(number), 6) if np.isfinite(number) else None for number in estimate)
    return [value, *(bounds if certain else (None, None))]


def _print(made: profile.Profile) -> None:
    report = made.report
    needed = report["patients_needed"]
    print(made.said)
    print(
        f"patients of each class: at least {needed['at_least']}, a slope from {needed['for_a_slope']} on, "
        f"{needed['advised']} advised"
    )
    slope = f"slope {made.recalibration.slope:.3f}" if report["with_slope"] else "slope 1, too few patients to fit it"
    print(f"recalibration: intercept {made.recalibration.intercept:.3f}, {slope}")
    for name, limit in made.thresholds.model_dump().items():
        print(f"{name} threshold: {limit['score']:.6g} ({limit['criterion']})")
    rejected = report["input_check"]["share_rejected"]["all"]
    print(f"prevalence: {_text(report['prevalence'])}; input check rejects {_text(rejected)}")
    for name in SHOWN:
        told = report["all"][name]
        print(f"{name}: before {_text(told['before'])}, after {_text(told['after'])}, change {_text(told['change'])}")
    path = paths.PROFILES / f"{made.name}.json"
    print(
        f"written to {path.relative_to(paths.ROOT)}; SERVE_PROFILE={made.name} make serve answers by it; research software, "
        "not a medical device"
    )


def _text(estimate: Sequence[float | None]) -> str:
    value, low, high = ("undefined" if number is None else f"{number:.3f}" for number in estimate)
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    run("site-profile", main)
