"""params.yaml as pydantic models, section by section: what no stage could work with is one line that names the key.

DVC deletes a stage's outputs before the stage reads its settings, so a mistake is found here or comes too late.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.learning import networks
from pipeline.learning.settings import RUN_NAME, Run, Training, read_runs
from pipeline.schema import Section, parse, read_yaml, suggestion
from pipeline.serving.settings import Serve

__all__ = ["Run", "Serve", "Training"]

BASELINE = "baseline"  # the run that sees no lungs (stage `baseline`): its predictions lie beside those of the others
RESERVED = (BASELINE, "floor")  # no run of params.yaml: the name of that stage, and the one that it had in 0.1.0
LONGEST_NAME = 100  # characters: a name becomes a folder and a file

Level = Literal["error", "warning"]
Weights = Literal["imagenet", "random"]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # of numpy and Keras
Share = Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
Phantoms = Annotated[int, Field(ge=2, le=1_000_000)]  # both classes; a million files are some 20 GB


def _name(name: str) -> str:
    if not RUN_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise ValueError(
            f"must be at most {LONGEST_NAME} characters of a-z, 0-9, '_' and '-', the first a letter or digit"
        )
    return name


def _group_name(name: str) -> str:
    if name == "validation":
        raise ValueError("must be another name: data/groups/validation.csv lists the validation patients")
    return _name(name)


def _one_line(text: str) -> str:
    if not text.strip() or len(text.splitlines()) > 1:
        raise ValueError("must be one line of text")
    return text


def _ascending(pair: list[float]) -> list[float]:
    if pair[0] > pair[1]:
        raise ValueError("must be the least and the most, in this order")
    return pair


Name = Annotated[str, AfterValidator(_name)]


class Phantom(Section):
    """Generated radiographs: the seed, and how many in each split."""

    seed: Seed
    train: Phantoms
    val: Phantoms
    test: Phantoms


class Ingest(Section):
    """Which data set; how it arrives is no setting."""

    dataset: Literal["chest-xray-pneumonia", "phantom"]
    phantom: Phantom


class Criteria(Section):
    """What it means when the manifest does not meet a criterion."""

    schema_: Level = Field(alias="schema")  # pydantic has a `schema` of its own
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


class Validate(Section):
    """Limits of a usable image (pixels), and of the set as a whole."""

    min_side: int = Field(ge=1, le=30_000)
    max_pixels: int = Field(ge=1, le=1_000_000_000)
    criteria: Criteria
    max_quarantined: float = Field(ge=0, lt=1)
    class_ratio: Annotated[
        list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)
    ]

    @model_validator(mode="after")
    def _expect_a_size_that_passes(self) -> Self:
        if self.min_side**2 > self.max_pixels:
            raise ValueError(f"min_side: {self.min_side} must be at most the root of max_pixels, {self.max_pixels}")
        return self


class Explore(Section):
    """The sample sheet."""

    samples: int = Field(ge=1, le=400)
    seed: Seed


class Preprocess(Section):
    """Side of the square arrays, in pixels."""

    image_size: int = Field(ge=32, le=1024)


class GroupSet(Section):
    """A row list: with the rare class repeated until equal, or not."""

    balanced: bool


class Groups(Section):
    """Who is a validation patient, and the row lists."""

    validation_percent: int = Field(ge=1, le=99)
    salt: Text
    seed: Seed
    sets: dict[Annotated[str, AfterValidator(_group_name)], GroupSet] = Field(min_length=1)


class Train(Section):
    """The study: what is trained, and what is planned and not trained yet; `pipeline.learning.settings` reads the entries."""

    common: Training
    runs: dict[str, Run] = Field(min_length=1)
    planned: dict[str, Run]


class Evaluate(Section):
    """Threshold, bootstrap, operating points, and a second prevalence for PPV and NPV."""

    threshold: Share
    resamples: int = Field(ge=20, le=100_000)
    seed: Seed
    sensitive: Share
    specific: Share
    prevalence: Share


class Start(Section):
    """A network from given starting weights."""

    network: str
    weights: Weights


class Release(Section):
    """What may ship: at most so many megabytes (1e6 bytes) of weights, and none of these starts."""

    max_megabytes: float = Field(ge=0.001, le=100_000)
    exclude: list[Start]


class Compare(Section):
    """The rule that names the candidate, read on validation patients only, and what may be released."""

    candidate: Literal["unseen"]
    release: Release


class Cascade(Section):
    """Weights made random from the top layer down: images asked, steps, and draws of random weights."""

    pictures: int = Field(ge=1, le=1_000_000)
    steps: int = Field(ge=3, le=1000)  # the logit, the hidden layer, at least one of the trunk
    draws: int = Field(ge=1, le=1000)


class Explain(Section):
    """What is drawn of the networks, and the sanity checks of the saliency maps."""

    seed: int = Field(ge=0, le=2**32 - 1000)  # of Keras; each draw adds one
    layers: dict[str, Annotated[list[Text], Field(min_length=1)]]
    hottest: Share
    shuffles: int = Field(ge=1, le=1000)
    cascade: Cascade
    borders: list[Annotated[float, Field(gt=0, lt=0.5)]] = Field(min_length=1)


class Package(Section):
    """The released model: how weights are stored, and what its contract says of the change, newest first."""

    weights: Literal["float16", "float32"]
    changelog: list[Annotated[str, AfterValidator(_one_line)]] = Field(min_length=1)


class Minimum(Section):
    """What the one-sided 95 % bounds at the sensitive operating point must reach; 0 lets everything pass."""

    min_sensitivity: float = Field(ge=0, lt=1)
    min_specificity: float = Field(ge=0, lt=1)


class Extra(Minimum):
    """A further labelled folder (NORMAL/ and PNEUMONIA/, relative to the root or absolute), and what is asked of it."""

    folder: Text


class Gate(Section):
    """When a candidate becomes champion: margins to the champion and to the best on record, and minima."""

    folds: int = Field(ge=2, le=100)
    min_patients: int = Field(ge=1, le=1_000_000)
    level: float = Field(ge=0.5, lt=1)  # of the one-sided bounds that are held against the margins
    auc_margin: float = Field(ge=0, le=1)
    log_loss_margin: float = Field(ge=0, le=100)
    validation: Minimum
    stress: Minimum
    extra: dict[Name, Extra]


class MetricsGate(Section):
    """How far the released champion's validation metrics may fall in a change: AUC, and log loss in nats."""

    auc: float = Field(ge=0, le=1)
    log_loss: float = Field(ge=0, le=100)


class Settings(Section):
    """All of params.yaml."""

    ingest: Ingest
    validation: Validate = Field(alias="validate")  # pydantic has a `validate` of its own
    explore: Explore
    preprocess: Preprocess
    groups: Groups
    train: Train
    evaluate: Evaluate
    compare: Compare
    explain: Explain
    package: Package
    gate: Gate
    metrics_gate: MetricsGate
    serve: Serve

    @property
    def runs(self) -> dict[str, Run]:
        """What DVC trains."""
        return self.train.runs

    @property
    def planned(self) -> dict[str, Run]:
        """What is not trained yet."""
        return self.train.planned

    @property
    def networks(self) -> list[str]:
        """The networks of the study, in the order in which params.yaml names them first."""
        return list(dict.fromkeys(run.network for run in (*self.runs.values(), *self.planned.values())))

    @property
    def table(self) -> dict[str, Run]:
        """Every run of the study, trained or planned, by network, group and seed."""
        networks, groups, entries = self.networks, list(self.groups.sets), {**self.planned, **self.runs}
        place = {
            name: (networks.index(run.network), groups.index(run.group), run.seed, name)
            for name, run in entries.items()
        }
        return {name: entries[name] for name in sorted(entries, key=place.__getitem__)}


def load(path: Path = paths.PARAMS) -> Settings:
    """Read and check params.yaml.

    Raises:
        ProjectError: the file is missing, is no YAML, or a key is missing, unknown, of the wrong type or out of range.
    """
    sections = read_yaml(path)
    train = sections.get("train")
    if isinstance(train, Mapping):
        if gone := [key for key in ("networks", "groups") if key in train]:
            raise ProjectError(
                f"{path.name}: train.{gone[0]}: gone since 0.2; each run names its own, and `augmentation`"
            )
        sections["train"] = {**train, **{table: read_runs(train, table) for table in ("runs", "planned")}}
    settings = parse(Settings, sections, "", path.name)
    for contradiction in _contradictions(settings):
        raise ProjectError(f"{path.name}: {contradiction}")
    return settings


def _contradictions(settings: Settings) -> Iterator[str]:
    """What is wrong between sections, one line each."""
    yield from _contradictions_of_runs(settings)
    for place, start in enumerate(settings.compare.release.exclude):
        if start.network not in networks.names():
            hint = suggestion(start.network, networks.names())
            yield f"compare.release.exclude[{place}].network: {start.network!r} is no network; {hint}"
    explain, side = settings.explain, settings.preprocess.image_size
    for network in explain.layers:
        if network not in settings.networks:
            hint = suggestion(network, settings.networks)
            yield f"explain.layers: {network!r} is no network of train.runs or train.planned; {hint}"
    if not 1 <= round(explain.hottest * side**2) < side**2:
        yield f"explain.hottest: {explain.hottest} of {side} x {side} pixels must be at least one pixel, and not all"
    for share in explain.borders:
        if not 1 <= round(side * share) < side / 2:
            yield f"explain.borders: {share} of {side} pixels must leave a frame and a middle"


def _contradictions_of_runs(settings: Settings) -> Iterator[str]:
    side = settings.preprocess.image_size
    for table, runs in (("runs", settings.runs), ("planned", settings.planned)):
        for name, run in runs.items():
            where = f"train.{table}.{name}"
            if name in RESERVED:
                yield f"{where}: {name!r} is the name of the baseline, which is no network"
            if len(name) > LONGEST_NAME:
                yield f"{where}: the name of a run must have at most {LONGEST_NAME} characters"
            if run.group not in settings.groups.sets:
                yield f"{where}.group: {run.group!r} is not in groups.sets; {suggestion(run.group, settings.groups.sets)}"
            smallest = networks.get(run.network).smallest_side
            if side < smallest:
                yield f"preprocess.image_size: {side} must be at least {smallest}, for {run.network} of {where}"
    for name in settings.runs.keys() & settings.planned.keys():
        yield f"train.planned.{name}: is in train.runs as well; it must be in one of them"
