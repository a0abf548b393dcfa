"""params.yaml as the dataclasses of `pipeline.schema`: what no stage could work with is an error that names the key.

DVC deletes a stage's outputs before the stage reads its settings, so a mistake is found here or comes too late.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.learning import networks
from pipeline.learning.settings import Run, Training, read_runs
from pipeline.schema import read_yaml
from pipeline.sections import (
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
    Serve,
    Settings,
    Start,
    Validate,
)
from pipeline.typed import build, choose, expect_keys

__all__ = [
    "Evaluate", "Floor", "Gate", "Groups", "Ingest", "Level", "MetricsGate", "Phantom", "Promises", "Release", "Run",
    "Serve", "Settings", "Start", "Training", "Validate", "load", "load_serve",
]  # fmt: skip

LARGEST_SIDE = 1024
LARGEST_SEED = 2**32 - 1  # of numpy and Keras
FLOOR = "floor"  # the run that sees no lungs (stage `floor`): its predictions lie beside those of the others


def load(path: Path = paths.PARAMS) -> Settings:
    """Read and check params.yaml.

    Raises:
        ProjectError: the file is missing, is no YAML, or a key is missing, unknown, of the wrong type or out of range.
    """
    sections = read_yaml(path)
    train = sections.pop("train", None)
    if train is None:
        raise ProjectError(f"{path.name}: section 'train' is missing")
    sections |= {"networks": [], "runs": {}, "planned": {}}
    settings = build(Settings, sections, "")
    expect_keys(train, ["common", "runs", "planned"], "train")
    tables = {table: read_runs(train, table) for table in ("runs", "planned")}
    ordered: dict[str, None] = {}
    for table, runs in tables.items():
        for name, run in runs.items():
            where = f"train.{table}.{name}"
            if name == FLOOR:
                raise ProjectError(f"params.yaml: {where}: {FLOOR!r} is the baseline's name")
            choose(dict.fromkeys(settings.groups.sets), run.group, f"{where}.group", "groups.sets")
            ordered[run.network] = None
    settings = dataclasses.replace(settings, networks=list(ordered), **tables)
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
    for name, run in settings.runs.items():
        smallest = networks.get(run.network).smallest_side
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
    if serve.prevalence is not None and not 0 < serve.prevalence < 1:
        raise ProjectError(f"params.yaml: serve.prevalence: {serve.prevalence} does not lie between 0 and 1")
    return serve
