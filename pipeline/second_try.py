"""A run that learned nothing is trained again beside it, at a tenth of its learning rate: one more line of train.runs."""

import re
from typing import Any

import yaml

from pipeline import paths, settings
from pipeline.errors import ProjectError
from pipeline.evaluation import measure, predictions
from pipeline.files import write_text

TENTH = 0.1
SUFFIX = "-low"


def add(names: list[str]) -> list[str]:
    """Write a second try into params.yaml for each of these runs that is trained and learned nothing; returns their names.

    Raises:
        ProjectError: params.yaml is not laid out so that a line can be added; it is as it was.
    """
    chosen = settings.load()
    added = []
    for name in names:
        folder = paths.predictions(name)
        if is_wanted(chosen, name) and folder.exists() and measure.learned_nothing(predictions.read(folder).validation):
            _insert(chosen.runs[name])
            added.append(name + SUFFIX)
    return added


def is_wanted(chosen: settings.Settings, name: str) -> bool:
    """Whether this run of train.runs has no second try, and is none."""
    beside = name + SUFFIX in chosen.runs or name + SUFFIX in chosen.planned
    return name in chosen.runs and not name.endswith(SUFFIX) and not beside


def line(run: settings.Run) -> str:
    """The line of train.runs that trains a run again: everything as before, but the rate."""
    own = _runs(paths.PARAMS.read_text(encoding="utf-8"))[run.name]
    rate = "finetune_learning_rate" if run.weights == "imagenet" else "learning_rate"
    tenth = f"{run.starting_rate * TENTH:.15f}".rstrip("0")  # YAML takes 1e-05 for a word
    rest = ", ".join(f"{key}: {value}" for key, value in own.items() if key != rate)
    return f"{run.name}{SUFFIX}: {{{rest}, {rate}: {tenth}}}"


def _insert(run: settings.Run) -> None:
    """Put the line below the run's own, the rest of the file as it is."""
    before, added = paths.PARAMS.read_text(encoding="utf-8"), line(run)
    # The run's line, and its keys where each has a line of its own.
    own = re.compile(rf"^( +){re.escape(run.name)}:.*\n(?:\1 .*\n)*", re.MULTILINE)
    for found in own.finditer(before):
        after = f"{before[: found.end()]}{found[1]}{added}\n{before[found.end() :]}"
        if _runs(after) == _runs(before) | yaml.safe_load(added):
            write_text(paths.PARAMS, after)
            return
    raise ProjectError(
        f"params.yaml: {run.name} learned nothing, and has no line of its own; add to train.runs: {added}"
    )


def _runs(text: str) -> dict[str, Any]:
    return yaml.safe_load(text)["train"]["runs"]
