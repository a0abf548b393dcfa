"""Tables with a row for each run that was made, from metrics/runs/, as Markdown for the documents."""

import re
from collections.abc import Mapping, Sequence

from pipeline import settings
from pipeline.evaluation.formatting import Row, estimate, label, markdown, of, threshold
from pipeline.evaluation.run_metrics import UNDEFINED
from pipeline.evaluation.tables import is_control
from pipeline.labels import EVALUATED
from pipeline.settings import BASELINE


def learning(runs: Sequence[Row]) -> str:
    """Steps, epochs to 95 % of the final validation accuracy, and the gap between training and validation."""
    header = ["run", "images", "steps", "epochs", "epochs to 95 %", "steps before the rate fell to 1 %"]
    header += ["training accuracy", "training - validation"]
    counts = ("training_pictures", "steps", "epochs", "epochs_to_95", "steps_at_rate")
    shares = ("training_accuracy", "training_gap")
    body = [
        [label(run), *(run[name] for name in counts), *(estimate(run[name]) for name in shares)]
        for run in runs
        if run["run"] != BASELINE
    ]
    return markdown(header, body)


def splits(runs: Sequence[Row]) -> str:
    """Validation, stressed validation and the official test side by side."""
    header = [
        "run",
        "AUC validation",
        "AUC stressed",
        "AUC stressed, unseen changes",
        "AUC test",
        "specificity validation",
        "specificity stressed",
    ]
    header += ["specificity test", "accuracy validation", "accuracy test", "accuracy gap"]
    names = ["validation_auc", "stress_auc", "unseen_auc", "test_auc", "validation_specificity", "stress_specificity"]
    names += ["test_specificity", "validation_accuracy", "test_accuracy", "gap_accuracy"]
    return markdown(header, ([label(run), *(of(run, name) for name in names)] for run in runs))


def operating(runs: Sequence[Row], prevalence: float) -> str:
    """The three thresholds of each run, on the scale of the served score, and what they do on the official test.

    PPV and NPV at its share of pneumonia and at another.
    """
    percent = f"{100 * prevalence:g}_percent"
    shown = ["sensitivity", "specificity", "ppv", "npv", f"ppv_{percent}", f"npv_{percent}"]
    header = ["run", "threshold on the served score", "sensitivity", "specificity", "PPV", "NPV"]
    header += [f"PPV at {100 * prevalence:g} %", f"NPV at {100 * prevalence:g} %"]
    points = (
        ("", "", "0.5 as trained"),
        ("_sensitive", "_at_sensitive", "sensitive"),
        ("_specific", "_at_specific", "specific"),
    )
    body = [
        [
            label(run),
            f"{point}: {threshold(run[f'threshold{suffix}'])}",
            *(of(run, f"test_{name}{at}") for name in shown),
        ]
        for run in runs
        for suffix, at, point in points
    ]
    return markdown(header, body)


def fixed(runs: Sequence[Row]) -> str:
    """Sensitivity where specificity is .95, and the reverse; each split's own threshold, so it describes, not predicts."""
    names = ("sensitivity_at_95_specificity", "specificity_at_95_sensitivity")
    header = ["run"]
    header += [f"{name.replace('_', ' ').replace('95', '.95')}, {split}" for name in names for split in EVALUATED]
    body = ([label(run), *(of(run, f"{split}_{name}") for name in names for split in EVALUATED)] for run in runs)
    return markdown(header, body)


def calibration(runs: Sequence[Row]) -> str:
    """Calibration on validation and on the official test, recalibrated on validation; and in how many runs that helps."""
    shown = {"calibration_intercept": "intercept", "calibration_slope": "slope"}
    header = ["run", *(f"{name}, {split}" for name in shown.values() for split in EVALUATED)]
    header += [f"{name}, test, {when}" for name in ("Brier", "log loss") for when in ("as trained", "recalibrated")]
    names = [f"{split}_{name}_recalibrated" for name in shown for split in EVALUATED]
    names += [f"test_{name}{when}" for name in ("brier", "log_loss") for when in ("", "_recalibrated")]
    known = [
        run
        for run in runs
        if _finished(run) and UNDEFINED not in (run["test_log_loss"], run["test_log_loss_recalibrated"])
    ]
    helped = sum(run["test_log_loss_recalibrated"] < run["test_log_loss"] for run in known)
    high = sum(UNDEFINED != run["test_calibration_intercept_recalibrated_high"] < 0 for run in known)
    said = (
        f"On the official test the recalibration lowers the log loss of {helped} of {len(known)} finished runs, and "
        f"the recalibrated score is too high in {high} of {len(known)} (the interval of the intercept below 0)."
    )
    return f"{markdown(header, ([label(run), *(of(run, name) for name in names)] for run in runs))}\n\n{said}"


def subtypes(runs: Sequence[Row]) -> str:
    """Bacterial and viral pneumonia apart, on validation and test."""
    columns = [(split, kind) for split in EVALUATED for kind in ("bacterial", "viral")]
    metrics = ("sensitivity", "auc")
    titles = {"sensitivity": "sensitivity", "auc": "AUC"}
    header = ["run", *(f"{kind} {titles[name]}, {split}" for split, kind in columns for name in metrics)]
    names = [f"{split}_{kind}_{name}" for split, kind in columns for name in metrics]
    return markdown(header, ([label(run), *(of(run, name) for name in names)] for run in runs))


def stress(runs: Sequence[Row], family: str) -> str:
    """AUC on the validation images as they are, under each change of a family, and pooled over the changes."""
    changes = _changes(runs, family)
    body = (
        [
            label(run),
            estimate(run["validation_auc"]),
            *(
                [*(estimate(run[f"{family}_{change}_auc"]) for change in changes), of(run, f"{family}_auc")]
                if _measured(run, family)
                else ["network not kept", *["-"] * len(changes)]
            ),
        ]
        for run in runs
    )
    return markdown(["run", "clean", *changes, "pooled"], body)


def stress_decisions(runs: Sequence[Row], point: str) -> str:
    """Sensitivity and specificity under each change at an operating point fixed on clean validation patients."""
    changes = _changes(runs, "stress")
    body = (
        [
            label(run),
            *(
                " / ".join(estimate(run[f"{part}_{name}_at_{point}"]) for name in ("sensitivity", "specificity"))
                for part in ("validation", *(f"stress_{change}" for change in changes), "stress")
            ),
        ]
        for run in runs
    )
    return markdown(["run", "clean", *changes, "pooled"], body)


def _changes(runs: Sequence[Row], family: str) -> list[str]:
    """The changes of a family under which runs were measured."""
    pattern = re.compile(rf"{family}_(.+)_auc")
    return list(dict.fromkeys(match[1] for run in runs for key in run if (match := pattern.fullmatch(key))))


def _measured(run: Row, family: str) -> bool:
    """Whether a run's network answered under a family's changes: one that is not kept never did."""
    return run.get(f"{family}_auc", UNDEFINED) != UNDEFINED


def seeds(runs: Sequence[Row], plan: Mapping[str, settings.Run]) -> str:
    """Mean and range over seeds, where a network and group has several; a row of one seed says so."""
    header = [
        "network",
        "group",
        "epochs",
        "seeds",
        "test accuracy at the validation threshold",
        "test accuracy at 0.5",
    ]
    header += ["test AUC", "stressed validation AUC"]
    together: dict[tuple[str, str, int], list[Row]] = {}
    for run in runs:
        line = plan.get(run["run"])
        if line and not is_control(line):
            together.setdefault((line.network, line.group, int(run["epochs"])), []).append(run)
    body = []
    for who, same in together.items():
        cells = []
        for name in ("test_accuracy_at_sensitive", "test_accuracy", "test_auc", "stress_auc"):
            values = [float(run[name]) for run in same if run[name] != UNDEFINED]
            spread = (min(values), max(values)) if len(values) > 1 else (None, None)
            cells.append(estimate(sum(values) / len(values), *spread) if values else UNDEFINED)
        body.append([*who, len(same) if len(same) > 1 else "one seed", *cells])
    return markdown(header, body)


def _finished(run: Row) -> bool:
    """Whether a conclusion may use a row: a run that trained, for all its epochs."""
    return run["run"] != BASELINE and not run["unfinished"] and not run["did_not_train"]


def caveats(runs: Sequence[Row], baseline: Row | None) -> str:
    """What the rows together say: which errors there are, how far validation foresees the test, what the file tells."""
    trained = [run for run in runs if _finished(run)]
    wrong = {name: sum(run[f"test_{name}"] for run in trained) for name in ("fp", "fn")}
    share = wrong["fp"] / max(1, sum(wrong.values()))
    better = sum(run["gap_accuracy_low"] != UNDEFINED and run["gap_accuracy_low"] > 0 for run in trained)
    lines = [
        f"Positive is pneumonia. Of the errors of the {len(trained)} finished runs on the official test set at 0.5, "
        f"{share:.0%} are false positives.",
        f"A hold-out from the training folder scores better than the official test set in {better} of "
        f"{len(trained)} finished runs (accuracy at 0.5, the interval of the difference above 0).",
    ]
    non_image = next((run for run in runs if run["run"] == BASELINE), None)
    if non_image and baseline:
        read = ", ".join(name.replace("_", " ") for name in baseline["columns"])
        lost = f"; {', '.join(baseline['dropped'])} are the same in every training image" if baseline["dropped"] else ""
        lines.append(
            f"The non-image baseline is a row like the others: {read} tell the classes apart with AUC "
            f"{of(non_image, 'test_auc')} on the official test{lost}."
        )
    return "\n".join(f"- {line}" for line in lines)
