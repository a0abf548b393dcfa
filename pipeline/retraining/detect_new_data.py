"""Are there images that nothing was trained on yet? Ends with status 99, "nothing to do", when there are none."""

import hashlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from pipeline import paths
from pipeline.data import kaggle, layouts
from pipeline.files import read_json, sha256_of
from pipeline.retraining import request as requests
from pipeline.retraining import seen_data
from pipeline.schema import read_yaml

log = logging.getLogger("detect_new_data")

NOTHING_TO_DO = 99


def main() -> None:
    """Compare the source with what the committed runs and the finished retrainings were made from."""
    request = requests.from_environment()
    params = requests.lay_over(read_yaml(paths.PARAMS), request)
    if request.force or request.changes_settings:
        log.info("this run was asked for by name: going on whether or not the images are new")
        return
    current = identify(params["ingest"])
    if current in seen():
        log.info("nothing to do: everything was trained on these images already (%s)", current)
        sys.exit(NOTHING_TO_DO)
    log.info("new images: %s", current)


def identify(ingest: dict[str, Any]) -> str:
    """A name for what `ingest` would bring: the digest of data/dataset.json, or a pinned version.

    Raises:
        ProjectError: the source is not there, or is no copy of the data set.
    """
    if ingest["dataset"] == "phantom":
        return "phantom " + json.dumps(ingest["phantom"], sort_keys=True)
    copy = os.environ.get("CXR_DATA")
    if not copy:
        return f"kaggle version {kaggle.VERSION}"
    images = layouts.find(Path(copy).expanduser()).images
    lines = [f"{sha256_of(file)}  {path}\n" for path, file in images.items()]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def seen() -> set[str]:
    """What the committed runs and the finished retrainings on this machine were made from, named as by `identify`."""
    facts = list(paths.PREDICTIONS.glob("*/run.json"))
    return seen_data.recall() | {name for file in facts for name in _names(_read(file), "dataset_digest", None)}


def names_of(folder: Path) -> set[str]:
    """What the retraining in the workspace `folder` was made from, named as by `identify`."""
    ingest = yaml.safe_load((folder / paths.PARAMS.name).read_text(encoding="utf-8"))["ingest"]
    return _names(_read(folder / paths.DATASET.relative_to(paths.ROOT)), "digest", ingest)


def _names(facts: dict[str, Any], digest: str, ingest: dict[str, Any] | None) -> set[str]:
    names = {str(facts.get(digest))}
    if facts.get("edition") == "original":
        names.add(f"kaggle version {kaggle.VERSION}")
    if facts.get("edition") == "phantom" and ingest:
        names.add(identify(ingest))
    return names


def _read(file: Path) -> dict[str, Any]:
    return read_json(file, otherwise={})
