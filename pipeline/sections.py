"""What params.yaml holds, section by section, as dataclasses; `pipeline.settings` reads the file into them."""

from dataclasses import dataclass
from typing import Literal

from pipeline.learning.settings import Run

Level = Literal["error", "warning"]
Weights = Literal["imagenet", "random"]


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
    weights: Weights


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
