"""What a training reads of params.yaml: `train.common`, overridden by the keys of its own run."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.learning import augmentation, networks
from pipeline.schema import Section, parse, read_yaml, suggestion

RUN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")  # a folder, a key of dvc.yaml and a stage: no dot, no slash


class Training(Section):
    """How one network is trained; `params.yaml` explains each key."""

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=1, le=100_000)
    learning_rate: float = Field(gt=0)
    finetune_learning_rate: float = Field(gt=0)
    plateau_factor: float = Field(gt=0, lt=1)
    plateau_patience: int = Field(ge=1, le=100_000)
    min_learning_rate: float = Field(ge=0)
    precision: Literal["auto", "float32", "bfloat16"]
    scaling: Literal["unit", "own"]
    keep: Literal["last", "best"]
    augmenter: Literal["keras", "keras_cv"]


class Run(Section):
    """One entry of `train.runs`: what is trained, on which rows, by which recipe, from what, and how."""

    name: str
    network: str
    group: str
    augmentation: str
    seed: int = Field(ge=0, le=2**32 - 1)  # of numpy and Keras
    weights: Literal["imagenet", "random"]
    training: Training

    @property
    def starting_rate(self) -> float:
        """The learning rate of the first epoch."""
        return self.training.finetune_learning_rate if self.weights == "imagenet" else self.training.learning_rate


def read_runs(train: Any, table: str = "runs") -> dict[str, Run]:
    """The entries of `train.runs` (or of another table of the section), each over `train.common`.

    Raises:
        ProjectError: one line that names the key, its value and what is allowed.
    """
    if not isinstance(train, Mapping):
        raise ProjectError(f"params.yaml: train: {train!r} must be a mapping")
    for key in ("common", table):
        if key not in train:
            raise ProjectError(f"params.yaml: train: key {key!r} is missing")
    common, entries = train["common"], train[table] or {}
    parse(Training, common, "train.common")
    if not isinstance(entries, Mapping):
        raise ProjectError(f"params.yaml: train.{table}: {entries!r} must be a mapping")
    return {str(name): _read_run(str(name), entry, common, f"train.{table}.{name}") for name, entry in entries.items()}


def load_run(name: str) -> Run:
    """The entry `name` of `train.runs` in params.yaml.

    Raises:
        ProjectError: there is none, or it is wrong.
    """
    runs = read_runs(read_yaml(paths.PARAMS).get("train"))
    if name not in runs:
        raise ProjectError(f"{name!r} is not in train.runs of params.yaml; {suggestion(name, runs)}")
    return runs[name]


def _read_run(name: str, entry: Any, common: Mapping[str, Any], where: str) -> Run:
    if not RUN_NAME.fullmatch(name):
        raise ProjectError(f"params.yaml: {where}: a run's name is of a-z, 0-9, '_' and '-'")
    if not isinstance(entry, Mapping):
        raise ProjectError(f"params.yaml: {where}: {entry!r} must be a mapping")
    own = set(Run.model_fields) - {"name", "training"}
    unknown = [key for key in entry if key not in own | set(Training.model_fields)]
    if unknown:
        known = [*sorted(own), *Training.model_fields]
        raise ProjectError(f"params.yaml: {where}: unknown key {unknown[0]!r}; {suggestion(str(unknown[0]), known)}")
    overrides = {key: value for key, value in entry.items() if key not in own}
    training = parse(Training, {**common, **overrides}, where)
    run = parse(Run, {key: entry[key] for key in entry if key in own} | {"name": name, "training": training}, where)
    for key, known in (("network", networks.names()), ("augmentation", augmentation.names())):
        if (value := getattr(run, key)) not in known:
            raise ProjectError(f"params.yaml: {where}.{key}: {value!r} is not there; {suggestion(value, known)}")
    if run.weights == "imagenet" and networks.get(run.network).application is None:
        raise ProjectError(f"params.yaml: {where}: {run.network} has no ImageNet weights; set weights: random")
    return run
