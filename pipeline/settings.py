"""params.yaml as typed dataclasses: a missing, unknown or ill-typed key is an error that names it."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.typed import build, choose, expect_keys

Level = Literal["error", "warning"]
Augmentation = Literal["none", "geometric", "robust"]


@dataclass(frozen=True)
class Phantom:
    """Generated radiographs: the seed, and how many in each split."""

    seed: int
    train: int
    val: int
    test: int


@dataclass(frozen=True)
class Ingest:
    """Which data set; how it arrives is no setting."""

    dataset: Literal["chest-xray-pneumonia", "phantom"]
    phantom: Phantom


@dataclass(frozen=True)
class Promises:
    """What each broken promise about the manifest means."""

    schema: Level
    labels: Level
    splits: Level
    class_present: Level
    patient_in_one_split: Level
    duplicates_across_splits: Level
    usable: Level
    duplicates_within_split: Level
    class_ratio: Level
    mode: Level
    size: Level
    count: Level


@dataclass(frozen=True)
class Validate:
    """Limits of a usable picture (pixels), and of the set as a whole."""

    min_side: int
    max_pixels: int
    promises: Promises
    max_quarantined: float
    class_ratio: list[float]


@dataclass(frozen=True)
class Explore:
    """The sample sheet."""

    samples: int
    seed: int


@dataclass(frozen=True)
class Preprocess:
    """Side of the square arrays, in pixels."""

    image_size: int


@dataclass(frozen=True)
class GroupSet:
    """A row list: with the rare class repeated until equal, or not."""

    balanced: bool


@dataclass(frozen=True)
class Groups:
    """Who is a validation patient, and the row lists."""

    validation_percent: int
    salt: str
    seed: int
    sets: dict[str, GroupSet]


@dataclass(frozen=True)
class Training:
    """How one network is trained: `train.common`, overridden by network, then group, then run."""

    epochs: int
    batch_size: int
    learning_rate: float
    finetune_learning_rate: float
    plateau_factor: float
    plateau_patience: int
    plateau_floor: float
    precision: Literal["auto", "float32", "bfloat16"]
    scaling: Literal["unit", "own"]
    keep: Literal["last", "best"]
    augmenter: Literal["keras", "keras_cv"]


@dataclass(frozen=True)
class Run:
    """One line of `train.runs`, resolved: what is trained, on what, from what, and how."""

    name: str
    network: str
    group: str
    seed: int
    weights: Literal["imagenet", "random"]
    augmentation: Augmentation
    training: Training

    @property
    def starting_rate(self) -> float:
        """The learning rate of the first epoch."""
        return self.training.finetune_learning_rate if self.weights == "imagenet" else self.training.learning_rate


@dataclass(frozen=True)
class Evaluate:
    """Threshold, bootstrap, operating points, and a second prevalence for PPV and NPV."""

    threshold: float
    resamples: int
    seed: int
    sensitive: float
    specific: float
    prevalence: float


@dataclass(frozen=True)
class Start:
    """A network from given starting weights."""

    network: str
    weights: Literal["imagenet", "random"]


@dataclass(frozen=True)
class Release:
    """What may ship: at most so many megabytes (1e6 bytes) of weights, and none of these starts."""

    max_megabytes: int
    exclude: list[Start]


@dataclass(frozen=True)
class Compare:
    """The rule that names the candidate, read on validation patients only, and what may be released."""

    candidate: Literal["stress_auc"]
    release: Release


@dataclass(frozen=True)
class Cascade:
    """Weights made random from the top layer down: pictures asked, steps (at least 3), and draws of random weights."""

    pictures: int
    steps: int
    draws: int


@dataclass(frozen=True)
class Explain:
    """What is drawn of the networks, and the checks whether the maps mean anything."""

    seed: int
    layers: dict[str, list[str]]
    hottest: float
    shuffles: int
    cascade: Cascade
    borders: list[float]


@dataclass(frozen=True)
class Package:
    """What ships: how weights are stored, and what its contract says of the change, newest first."""

    weights: Literal["float16", "float32"]
    changelog: list[str]


@dataclass(frozen=True)
class Floor:
    """What the one-sided 95 % bounds at the sensitive operating point must reach."""

    sensitivity: float
    specificity: float


@dataclass(frozen=True)
class Floors:
    """Floors on the validation pictures as they are, and under stress."""

    validation: Floor
    stress: Floor


@dataclass(frozen=True)
class Extra:
    """A further labelled folder (NORMAL/ and PNEUMONIA/, relative to the root or absolute), and its floors."""

    folder: str
    sensitivity: float
    specificity: float


@dataclass(frozen=True)
class Gate:
    """When a candidate becomes champion: margins to the best champion on record, and floors."""

    folds: int
    min_patients: int
    auc_margin: float
    log_loss_margin: float
    floors: Floors
    extra: dict[str, Extra]


@dataclass(frozen=True)
class MetricsGate:
    """How far the released champion's validation figures may fall in a change: AUC, and log loss in nats."""

    auc: float
    log_loss: float


@dataclass(frozen=True)
class Serve:
    """The service: how it computes, what it accepts, what it keeps. `SERVE_<KEY>` in the environment overrides a key."""

    workers: int
    threads: int
    max_megabytes: float
    max_pixels: int
    max_frames: int
    max_per_client: int
    max_waiting: int
    max_held_megabytes: float
    patience_seconds: float
    prevalence: float | None
    strangers: Literal["refuse", "warn"]
    log: str | None
    drift_window: int
    drift_limit: float


@dataclass(frozen=True)
class Settings:
    """All of params.yaml; `runs` (trained by DVC) and `planned` (not trained yet) are the lines of `train`, resolved."""

    ingest: Ingest
    validate: Validate
    explore: Explore
    preprocess: Preprocess
    groups: Groups
    networks: list[str]
    runs: dict[str, Run]
    planned: dict[str, Run]
    evaluate: Evaluate
    compare: Compare
    explain: Explain
    package: Package
    gate: Gate
    metrics_gate: MetricsGate
    serve: Serve

    @property
    def table(self) -> dict[str, Run]:
        """Every line of the study, trained or planned, by network, group and seed."""
        groups = list(self.groups.sets)
        lines = {**self.planned, **self.runs}
        place = {
            name: (self.networks.index(run.network), groups.index(run.group), run.seed, name)
            for name, run in lines.items()
        }
        return {name: lines[name] for name in sorted(lines, key=place.__getitem__)}


def load(path: Path = paths.PARAMS) -> Settings:
    """Read and check params.yaml.

    Raises:
        ProjectError: the file is missing, is no YAML, or a key is missing, unknown or of the wrong type.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(f"{path.name} is missing; run this from the project's folder") from None
    except yaml.YAMLError as error:
        raise ProjectError(f"{path.name} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ProjectError(f"{path.name}: expected a mapping of sections")
    sections = dict(raw)
    train = sections.pop("train", None)
    if train is None:
        raise ProjectError(f"{path.name}: section 'train' is missing")
    groups = build(Groups, sections.get("groups"), "groups")
    expect_keys(train, ["common", "networks", "groups", "runs", "planned"], "train")
    sections |= {"networks": list(train["networks"]), "runs": {}, "planned": {}}
    settings = build(Settings, sections, "")
    row_lists = list(groups.sets)
    settings = dataclasses.replace(
        settings,
        runs=_resolve_runs(train, "runs", row_lists),
        planned=_resolve_runs(train, "planned", row_lists),
    )
    _expect_ranges(settings)
    return settings


def _expect_ranges(settings: Settings) -> None:
    """Raise a `ProjectError` at the first number that no stage could work with, before any stage has begun."""
    evaluate, groups = settings.evaluate, settings.groups
    limits: list[tuple[str, float, float, float]] = [
        ("preprocess.image_size", settings.preprocess.image_size, 32, 1024),
        ("groups.validation_percent", groups.validation_percent, 1, 99),
        ("evaluate.resamples", evaluate.resamples, 20, 100_000),
    ]
    for key in ("threshold", "sensitive", "specific", "prevalence"):
        limits.append((f"evaluate.{key}", getattr(evaluate, key), 1e-6, 1 - 1e-6))
    for table in ("runs", "planned"):
        for name, run in getattr(settings, table).items():
            where, training = f"train.{table}.{name}", run.training
            limits += [(f"{where}: {key}", getattr(training, key), 1, 100_000) for key in ("epochs", "batch_size")]
            limits.append((f"{where}: the learning rate", run.starting_rate, 1e-12, float("inf")))
    for where, value, low, high in limits:
        if not low <= value <= high:
            raise ProjectError(f"params.yaml: {where}: {value} does not lie between {low:g} and {high:g}")


def load_serve(environ: Mapping[str, str] = os.environ, path: Path = paths.PARAMS) -> Serve:
    """The section `serve`, each key overridden by `SERVE_<KEY>` where the environment has it.

    Raises:
        ProjectError: as `load`; a value from the environment has the wrong type.
    """
    values = dataclasses.asdict(load(path).serve)
    for key in values:
        if (name := f"SERVE_{key.upper()}") in environ:
            values[key] = yaml.safe_load(environ[name])
    serve = build(Serve, values, "serve")
    if serve.prevalence is not None and not 0 < serve.prevalence < 1:
        raise ProjectError(f"params.yaml: serve.prevalence: {serve.prevalence} does not lie between 0 and 1")
    return serve


def _resolve_runs(train: Any, table: str, row_lists: list[str]) -> dict[str, Run]:
    """Merge `common`, network, group and run, later ones winning, into one `Run` for each line of a table."""
    common = build(Training, train["common"], "train.common")
    overridable = [field.name for field in dataclasses.fields(Training)]
    runs = {}
    for name, line in (train[table] or {}).items():
        where = f"train.{table}.{name}"
        own = ["network", "group", "seed", "weights"]
        expect_keys(line, own, where, optional=overridable)
        network = choose(train["networks"], line["network"], f"{where}.network", "train.networks") or {}
        group = choose(train["groups"], line["group"], f"{where}.group", "train.groups") or {}
        choose(dict.fromkeys(row_lists), line["group"], f"{where}.group", "groups.sets")
        expect_keys(network, [], f"train.networks.{line['network']}", optional=overridable)
        expect_keys(group, ["augmentation"], f"train.groups.{line['group']}", optional=overridable)
        overrides = {
            key: value for layer in (network, group, line) for key, value in layer.items() if key in overridable
        }
        merged = {**dataclasses.asdict(common), **overrides}
        fields = {key: line[key] for key in own} | {
            "name": name,
            "augmentation": group["augmentation"],
            "training": merged,
        }
        runs[name] = build(Run, fields, where)
    return runs
