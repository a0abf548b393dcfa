"""Keys of params.yaml that were renamed in 0.2. The old names work for one release, each with one line that says the new."""

import copy
import functools
import logging
from collections.abc import Iterator
from typing import Any

from pipeline.errors import ProjectError

log = logging.getLogger(__name__)

RENAMED = {  # `*` is any key
    "validate.promises": "validate.criteria",
    "train.common.plateau_floor": "train.common.min_learning_rate",
    "train.runs.*.plateau_floor": "train.runs.*.min_learning_rate",
    "train.planned.*.plateau_floor": "train.planned.*.min_learning_rate",
    "gate.floors.validation.sensitivity": "gate.validation.min_sensitivity",
    "gate.floors.validation.specificity": "gate.validation.min_specificity",
    "gate.floors.stress.sensitivity": "gate.stress.min_sensitivity",
    "gate.floors.stress.specificity": "gate.stress.min_specificity",
    "gate.extra.*.sensitivity": "gate.extra.*.min_sensitivity",
    "gate.extra.*.specificity": "gate.extra.*.min_specificity",
    "serve.strangers": "serve.out_of_distribution",
}


def with_new_names(settings: dict[str, Any], source: str) -> dict[str, Any]:
    """Settings with every old key under its new name; the argument stays as it is.

    Args:
        settings: params.yaml, or a part of it that is laid over.
        source: where they stand, named in front of the message.

    Raises:
        ProjectError: the old and the new name of a key are both there.
    """
    changed = copy.deepcopy(settings)
    for old, new in RENAMED.items():
        for keys in list(_places(changed, old.split("."))):
            names = new.split(".")
            _move(changed, keys, [keys[place] if name == "*" else name for place, name in enumerate(names)], source)
    return changed


@functools.cache  # once a process, however often the file is read
def warn(source: str, old: str, new: str) -> None:
    """Say that a name is old."""
    log.warning("%s: %s is now %s; the old name works until the next release", source, old, new)


def _places(tree: Any, keys: list[str]) -> Iterator[list[str]]:
    """Where the key is, as lists of the keys on the way."""
    if not keys:
        yield []
    elif isinstance(tree, dict):
        for key in tree if keys[0] == "*" else {keys[0]} & tree.keys():
            yield from ([key, *rest] for rest in _places(tree[key], keys[1:]))


def _move(tree: dict[str, Any], old: list[str], new: list[str], source: str) -> None:
    names = ".".join(map(str, old)), ".".join(map(str, new))
    target = tree
    for key in new[:-1]:
        target = target.setdefault(key, {})
        if not isinstance(target, dict):
            return  # no mapping, which whoever reads the section says
    if new[-1] in target:
        raise ProjectError(f"{source}: {names[0]} is now {names[1]}, and both are set: keep the new one")
    holders = [tree]
    for key in old[:-1]:
        holders.append(holders[-1][key])
    target[new[-1]] = holders[-1].pop(old[-1])
    for place in range(len(holders) - 1, 0, -1):  # what is empty now
        if not holders[place]:
            del holders[place - 1][old[place - 1]]
    warn(source, *names)
