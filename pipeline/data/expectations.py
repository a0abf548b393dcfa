"""The criteria of the data set (`validate.criteria`), each one or more expectations of Great Expectations."""

import os

os.environ["GX_ANALYTICS_ENABLED"] = "False"  # read when Great Expectations is imported

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.data_context import EphemeralDataContext
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from pipeline.data.manifest import COLUMNS
from pipeline.errors import ProjectError
from pipeline.labels import CLASSES, PNEUMONIA, SPLITS, SUBTYPES
from pipeline.settings import Level, Validate

PUBLISHED_SUBTYPES = SUBTYPES | {PNEUMONIA: ("bacterial", "viral")}
OWN_SPLITS = ("train", "test")
TEXT = dict.fromkeys(("path", "split", "label", "subtype", "patient", "mode", "sha256"), str)  # "0012" is no number
MODES = ["L", "RGB"]
MAX_ELONGATION = 3.0  # longer to shorter side
MAX_AREA_AUC = 0.7  # how well the area alone may tell the classes apart
EXAMPLES = 3  # images named in a message

logging.getLogger("great_expectations").setLevel(logging.WARNING)  # it reports its own internals

Criterion = tuple[str, str, Expectation]  # name in the settings, in words, how it is checked


@dataclass(frozen=True)
class Unmet:
    """A criterion that is not met: its name, what that means, and what was found."""

    criterion: str
    level: Level
    found: str


def new_context(docs: Path) -> EphemeralDataContext:
    """All in memory, but for the pages that `build_data_docs` writes: `docs`/index.html.

    A context on disk would rewrite its own YAML at every run.
    """
    site = {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={"criteria": site},
        progress_bars=ProgressBarsConfig(globally=False),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def check(
    context: EphemeralDataContext, manifest: Path, quarantine: Path, counts: Mapping[str, int], validate: Validate
) -> list[Unmet]:
    """Hold the manifest to every criterion, and give those that are not met.

    Args:
        counts: images expected of each class, {"train/NORMAL": 1341, ...}: they say which splits there are. Empty for
            images of one's own: train and test, of any number, and pneumonia of unknown cause.

    Raises:
        ProjectError: the manifest holds no image at all.
    """
    images = pd.read_csv(manifest, keep_default_na=False, na_values=[""], dtype=TEXT)
    if images.empty:
        raise ProjectError(f"no usable image: see {quarantine}")
    checks = [("manifest", images, _of_the_manifest())]
    if list(images.columns) == COLUMNS:  # else there is nothing further to look at
        refused = len(pd.read_csv(quarantine))
        checks.append(("pictures", with_relations(images), _of_images(PUBLISHED_SUBTYPES if counts else SUBTYPES)))
        checks.append(("set", summary(images, refused), _of_the_set(counts, validate)))
    levels = validate.criteria.model_dump(by_alias=True)
    return [unmet for name, table, criteria in checks for unmet in _unmet(context, name, table, criteria, levels)]


def with_relations(images: pd.DataFrame) -> pd.DataFrame:
    """The manifest with what each row has in common with others: the columns that criteria across rows look at."""
    by_content, by_patient = images.groupby("sha256"), images.groupby("patient")
    sides = images[["width", "height"]]
    return images.assign(
        splits_of_patient=by_patient["split"].transform("nunique"),
        splits_of_content=by_content["split"].transform("nunique"),
        labels_of_content=by_content["label"].transform("nunique"),
        copies_in_split=images.groupby(["sha256", "split"])["path"].transform("size"),
        elongation=sides.max(axis=1) / sides.min(axis=1),
    )


def summary(images: pd.DataFrame, refused: int) -> pd.DataFrame:
    """One row about the set: counts and class ratio of each split, modes, quarantined share, what the area tells."""
    counts = images.groupby(["split", "label"]).size()
    row: dict[str, float] = {"pictures": len(images), "modes": images["mode"].nunique()}
    for split in SPLITS:
        normal, pneumonia = (int(counts.get((split, label), 0)) for label in CLASSES)
        row |= {f"{split}_NORMAL": normal, f"{split}_PNEUMONIA": pneumonia, f"{split}_images": normal + pneumonia}
        row[f"{split}_ratio"] = pneumonia / normal if normal else float("nan")
    row["quarantined_share"] = refused / (refused + len(images))
    row["area_auc"] = _area_auc(images[images["split"] == "train"])
    return pd.DataFrame([row])


def _area_auc(train: pd.DataFrame) -> float:
    """How well the area alone tells the classes apart, from .5 (not at all) to 1; .5 where a class is missing."""
    ill = train["label"] == PNEUMONIA
    positives, negatives = int(ill.sum()), int((~ill).sum())
    if not positives or not negatives:
        return 0.5
    ranks = (train["width"] * train["height"]).rank()
    auc = (ranks[ill].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    return float(max(auc, 1 - auc))


def _of_the_manifest() -> Iterator[Criterion]:
    """What holds for the file."""
    e = gx.expectations
    columns = e.ExpectTableColumnsToMatchOrderedList(column_list=COLUMNS)
    yield "schema", "the columns are those of the contract", columns
    for column in COLUMNS:
        yield "schema", f"{column} is never empty", e.ExpectColumnValuesToNotBeNull(column=column)
    yield "schema", "no path stands twice", e.ExpectColumnValuesToBeUnique(column="path")
    digest = e.ExpectColumnValuesToMatchRegex(column="sha256", regex="^[0-9a-f]{64}$")
    yield "schema", "sha256 is a digest", digest
    for column in ("width", "height", "bytes"):
        positive = e.ExpectColumnValuesToBeBetween(column=column, min_value=1)
        yield "schema", f"{column} is a positive number", positive


def _of_images(allowed: Mapping[str, Sequence[str]]) -> Iterator[Criterion]:
    """What holds for each row, and between rows."""
    e = gx.expectations
    yield "labels", "only known labels", e.ExpectColumnValuesToBeInSet(column="label", value_set=list(CLASSES))
    pairs = [(label, subtype) for label, subtypes in allowed.items() for subtype in subtypes]
    fits = e.ExpectColumnPairValuesToBeInSet(column_A="label", column_B="subtype", value_pairs_set=pairs)
    yield "labels", "the file name's subtype fits the label", fits
    once = e.ExpectColumnValuesToBeBetween(column="labels_of_content", max_value=1)
    yield "labels", "identical images have one label", once
    yield "splits", "only known splits", e.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS))
    apart = e.ExpectColumnValuesToBeBetween(column="splits_of_patient", max_value=1)
    yield "patient_in_one_split", "no patient is in two splits", apart
    apart = e.ExpectColumnValuesToBeBetween(column="splits_of_content", max_value=1)
    yield "duplicates_across_splits", "no image is in two splits", apart
    single = e.ExpectColumnValuesToBeBetween(column="copies_in_split", max_value=1)
    yield "duplicates_within_split", "no image is twice in its split", single
    yield "mode", "images are grey or RGB", e.ExpectColumnValuesToBeInSet(column="mode", value_set=MODES)
    shape = e.ExpectColumnValuesToBeBetween(column="elongation", max_value=MAX_ELONGATION)
    yield "size", f"no side is over {MAX_ELONGATION:g} times the other", shape


def _of_the_set(counts: Mapping[str, int], validate: Validate) -> Iterator[Criterion]:
    """What holds for the set as a whole."""

    def between(column: str, low: float | None, high: float | None) -> Expectation:
        return gx.expectations.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)

    for split in _splits(counts):
        yield "splits", f"there are images in {split}", between(f"{split}_images", 1, None)
        for label in CLASSES:
            yield "class_present", f"{split} holds {label}", between(f"{split}_{label}", 1, None)
            if counts:
                expected = counts.get(f"{split}/{label}", 0)
                yield "count", f"{split} holds {expected} {label}", between(f"{split}_{label}", expected, expected)
        low, high = validate.class_ratio
        ratio = between(f"{split}_ratio", low, high)
        yield "class_ratio", f"{split}: {low:g} to {high:g} PNEUMONIA for one NORMAL", ratio
    share = validate.max_quarantined
    yield "usable", f"at most {share:.2%} of the images are unusable", between("quarantined_share", None, share)
    yield "mode", "all images have one mode", between("modes", 1, 1)
    told = between("area_auc", None, MAX_AREA_AUC)
    yield "size", f"the area alone tells the classes apart with an AUC of at most {MAX_AREA_AUC:g}", told


def _splits(counts: Mapping[str, int]) -> list[str]:
    named = {part.split("/")[0] for part in counts} or OWN_SPLITS
    return [split for split in SPLITS if split in named]


def _unmet(
    context: EphemeralDataContext,
    name: str,
    table: pd.DataFrame,
    criteria: Iterable[Criterion],
    levels: dict[str, Level],
) -> Iterator[Unmet]:
    """Check one table by a suite of its own name."""
    suite = context.suites.add(gx.ExpectationSuite(name))
    for criterion, words, expectation in criteria:
        level = FailureSeverity.CRITICAL if levels[criterion] == "error" else FailureSeverity.WARNING
        expectation.severity, expectation.meta = level, {"criterion": criterion, "words": words}
        suite.add_expectation(expectation)
    batch = context.data_sources.add_pandas(name).add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    result_format: dict[str, Any] = {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
    if "path" in table:
        result_format["unexpected_index_column_names"] = ["path"]
    outcome = definition.run(batch_parameters={"dataframe": table}, result_format=result_format)
    for result in outcome.results:
        if not result.success and result.expectation_config:
            meta = result.expectation_config.meta
            yield Unmet(meta["criterion"], levels[meta["criterion"]], f"{meta['words']}: {_found(result.result)}")


def _found(result: Mapping[str, Any]) -> str:
    """What was found instead, in a few words: how many images and the first of them, or the value."""
    if "unexpected_count" not in result:
        return f"found {result.get('observed_value', 'nothing that can be checked')}"
    places = result.get("partial_unexpected_index_list") or []
    if places and isinstance(places[0], dict):
        return f"{result['unexpected_count']} images, {', '.join(str(place['path']) for place in places)}"
    return f"found {', '.join(map(_plain, result['partial_unexpected_list']))}"


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
