"""params.yaml as the dataclasses of `pipeline.schema`: what no stage could work with is an error that names the key.

DVC deletes a stage's outputs before the stage reads its settings, so a mistake is found here or comes too late.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.schema import (
    Evaluate,
    Floor,
    Gate,
    Groups,
    Ingest,
    Level,
    MetricsGate,
    Phantom,
    Promises,
    Release,
    Run,
    Serve,
    Settings,
    Start,
    Training,
    Validate,
)
from pipeline.typed import build, choose, expect_keys, expect_mapping

__all__ = [
    "Evaluate", "Floor", "Gate", "Groups", "Ingest", "Level", "MetricsGate", "Phantom", "Promises", "Release", "Run",
    "Serve", "Settings", "Start", "Training", "Validate", "load", "load_serve",
]  # fmt: skip

SMALLEST_SIDE = {  # pixels of the pictures that a network can be built for
    "custom_cnn": 94,
    "resnet50": 32,
    "densenet121": 32,
    "vgg16": 32,
    "inception_v3": 75,
    "xception": 71,
}
LARGEST_SIDE = 1024
LARGEST_SEED = 2**32 - 1  # of numpy and Keras
RUN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")  # a folder, a key of dvc.yaml and a stage: no dot, no slash
FLOOR = "floor"  # the run that sees no lungs (stage `floor`): its predictions lie beside those of the others


def load(path: Path = paths.PARAMS) -> Settings:
    """Read and check params.yaml.

    Raises:
        ProjectError: the file is missing, is no YAML, or a key is missing, unknown, of the wrong type or out of range.
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
    for table in ("networks", "groups"):
        expect_mapping(train[table], f"train.{table}")
    for network in train["networks"]:
        choose(SMALLEST_SIDE, network, "train.networks", "the networks of this project")
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
        ("preprocess.image_size", settings.preprocess.image_size, 32, LARGEST_SIDE),
        ("groups.validation_percent", groups.validation_percent, 1, 99),
        ("evaluate.resamples", evaluate.resamples, 20, 100_000),
    ]
    seeds = {"ingest.phantom": settings.ingest.phantom.seed, "explore": settings.explore.seed, "groups": groups.seed}
    seeds |= {"evaluate": evaluate.seed, "explain": settings.explain.seed}
    limits += [(f"{section}.seed", seed, 0, LARGEST_SEED) for section, seed in seeds.items()]
    for key in ("threshold", "sensitive", "specific", "prevalence"):
        limits.append((f"evaluate.{key}", getattr(evaluate, key), 1e-6, 1 - 1e-6))
    for table in ("runs", "planned"):
        for name, run in getattr(settings, table).items():
            where, training = f"train.{table}.{name}", run.training
            limits += [
                (f"{where}: {key}", getattr(training, key), 1, 100_000)
                for key in ("epochs", "batch_size", "plateau_patience")
            ]
            limits += [
                (f"{where}: the learning rate", run.starting_rate, 1e-12, float("inf")),
                (f"{where}: plateau_factor", training.plateau_factor, 1e-6, 1 - 1e-6),
                (f"{where}: plateau_floor", training.plateau_floor, 0, float("inf")),
                (f"{where}.seed", run.seed, 0, LARGEST_SEED),
            ]
    for name, run in settings.runs.items():
        smallest = SMALLEST_SIDE[run.network]
        limits.append((f"preprocess.image_size, for {name}", settings.preprocess.image_size, smallest, LARGEST_SIDE))
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
    needed = (2 * serve.max_pixels + serve.max_metadata_megabytes * 2**20) / 2**20
    if serve.max_megabytes < needed:
        raise ProjectError(
            f"params.yaml: serve.max_megabytes: {serve.max_megabytes:g} is less than the {needed:.1f} that max_pixels at "
            "16 bits and max_metadata_megabytes need; raise it, or lower those"
        )
    if serve.prevalence is not None and not 0 < serve.prevalence < 1:
        raise ProjectError(f"params.yaml: serve.prevalence: {serve.prevalence} does not lie between 0 and 1")
    return serve


def _resolve_runs(train: Any, table: str, row_lists: list[str]) -> dict[str, Run]:
    """Merge `common`, network, group and run, later ones winning, into one `Run` for each line of a table."""
    common = build(Training, train["common"], "train.common")
    overridable = [field.name for field in dataclasses.fields(Training)]
    runs = {}
    lines = {} if train[table] is None else expect_mapping(train[table], f"train.{table}")
    for name, line in lines.items():
        where = f"train.{table}.{name}"
        if not RUN_NAME.fullmatch(str(name)) or name == FLOOR:
            raise ProjectError(f"params.yaml: {where}: a run's name is of a-z, 0-9, '_' and '-', and not {FLOOR!r}")
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
        if (line["network"], line["weights"]) == ("custom_cnn", "imagenet"):
            raise ProjectError(f"params.yaml: {where}: custom_cnn has no ImageNet weights; set weights: random")
    return runs
