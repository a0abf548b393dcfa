"""params.yaml as typed dataclasses: a missing, unknown or ill-typed key is an error that names it."""

import dataclasses
import difflib
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml

from pipeline import paths
from pipeline.errors import ProjectError

T = TypeVar("T")

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
    groups = _build(Groups, sections.get("groups"), "groups")
    _expect_keys(train, ["common", "networks", "groups", "runs", "planned"], "train")
    sections |= {"networks": list(train["networks"]), "runs": {}, "planned": {}}
    settings = _build(Settings, sections, "")
    row_lists = list(groups.sets)
    return dataclasses.replace(
        settings,
        runs=_resolve_runs(train, "runs", row_lists),
        planned=_resolve_runs(train, "planned", row_lists),
    )


def load_serve(environ: Mapping[str, str] = os.environ, path: Path = paths.PARAMS) -> Serve:
    """The section `serve`, each key overridden by `SERVE_<KEY>` where the environment has it.

    Raises:
        ProjectError: as `load`; a value from the environment has the wrong type.
    """
    values = dataclasses.asdict(load(path).serve)
    for key in values:
        if (name := f"SERVE_{key.upper()}") in environ:
            values[key] = yaml.safe_load(environ[name])
    serve = _build(Serve, values, "serve")
    if serve.prevalence is not None and not 0 < serve.prevalence < 1:
        raise ProjectError(f"params.yaml: serve.prevalence: {serve.prevalence} does not lie between 0 and 1")
    return serve


def _resolve_runs(train: Any, table: str, row_lists: list[str]) -> dict[str, Run]:
    """Merge `common`, network, group and run, later ones winning, into one `Run` for each line of a table."""
    common = _build(Training, train["common"], "train.common")
    overridable = [field.name for field in dataclasses.fields(Training)]
    runs = {}
    for name, line in (train[table] or {}).items():
        where = f"train.{table}.{name}"
        own = ["network", "group", "seed", "weights"]
        _expect_keys(line, own, where, optional=overridable)
        network = _choose(train["networks"], line["network"], f"{where}.network", "train.networks") or {}
        group = _choose(train["groups"], line["group"], f"{where}.group", "train.groups") or {}
        _choose(dict.fromkeys(row_lists), line["group"], f"{where}.group", "groups.sets")
        _expect_keys(network, [], f"train.networks.{line['network']}", optional=overridable)
        _expect_keys(group, ["augmentation"], f"train.groups.{line['group']}", optional=overridable)
        overrides = {
            key: value for layer in (network, group, line) for key, value in layer.items() if key in overridable
        }
        merged = {**dataclasses.asdict(common), **overrides}
        fields = {key: line[key] for key in own} | {
            "name": name,
            "augmentation": group["augmentation"],
            "training": merged,
        }
        runs[name] = _build(Run, fields, where)
    return runs


def _choose(options: Mapping[str, Any], name: Any, where: str, table: str) -> Any:
    if name not in options:
        raise ProjectError(f"params.yaml: {where}: {name!r} is not in {table}{_nearest(str(name), options)}")
    return options[name]


def _expect_keys(value: Any, required: list[str], where: str, optional: list[str] | None = None) -> None:
    """Raise a `ProjectError` unless `value` is a mapping with all required keys and no unknown one."""
    place = where or "top level"
    if not isinstance(value, dict):
        raise ProjectError(f"params.yaml: {place}: expected a mapping, got {value!r}")
    known = required + (optional or [])
    for key in value:
        if key not in known:
            raise ProjectError(f"params.yaml: {place}: unknown key {key!r}{_nearest(str(key), known)}")
    for key in required:
        if key not in value:
            raise ProjectError(f"params.yaml: {place}: key {key!r} is missing")


def _nearest(word: str, options: Any) -> str:
    close = difflib.get_close_matches(word, [str(option) for option in options], n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(map(str, options))}"


def _build(kind: type[T], value: Any, where: str) -> T:
    """Build the dataclass `kind` from a mapping, checking keys and types."""
    hints = typing.get_type_hints(kind)
    _expect_keys(value, list(hints), where)
    prefix = f"{where}." if where else ""
    return kind(**{key: _convert(hint, value[key], prefix + key) for key, hint in hints.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    if origin is Literal:
        if value not in get_args(hint):
            raise ProjectError(f"params.yaml: {where}: {value!r} is none of {', '.join(map(str, get_args(hint)))}")
        return value
    if origin is dict:
        if not isinstance(value, dict):
            raise ProjectError(f"params.yaml: {where}: expected a mapping, got {value!r}")
        return {str(key): _convert(get_args(hint)[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is list:
        if not isinstance(value, list):
            raise ProjectError(f"params.yaml: {where}: expected a list, got {value!r}")
        return [_convert(get_args(hint)[0], item, f"{where}[{place}]") for place, item in enumerate(value)]
    if origin is types.UnionType:
        if value is None:
            return None
        return _convert(next(kind for kind in get_args(hint) if kind is not type(None)), value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ProjectError(f"params.yaml: {where}: expected {hint.__name__}, got {value!r}")
    return value
