"""docs/serving.md names what there is."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from benchmarks import serving_document
from pipeline.evaluation.documents import insert
from pipeline.serving.gate import UPLOADS
from pipeline.serving.openapi import REFUSED
from pipeline.settings import Serve

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text()


def test_every_setting_is_explained() -> None:
    missing = [field.name for field in dataclasses.fields(Serve) if field.name not in TEXT]
    assert missing == []


def test_every_status_and_address_is_explained() -> None:
    assert set(re.findall(r"^\| (\d{3}) \|", TEXT, re.MULTILINE)) == set(REFUSED)
    assert all(f"`POST {route}`" in TEXT for route in UPLOADS)


def test_every_measured_figure_is_the_committed_one() -> None:
    assert insert(TEXT, serving_document.blocks()) == TEXT, "run `python -m benchmarks.serving_document`"


@pytest.mark.parametrize("name", serving_document.blocks())
def test_no_measured_part_is_left_out(name: str) -> None:
    assert f"<!-- {name} -->" in TEXT


def test_what_was_promised_is_what_was_measured() -> None:
    """The figures that the service is built to reach; a measurement that misses one does not get committed unseen."""
    found = json.loads(serving_document.KEPT.read_text())
    assert all(one["times"] >= 3.5 and one["median"] < 15 and one["map_adds"] < 0.2 for one in found["speed"]["sets"])
    load, fuzz, kill = found["load"], found["fuzz"], found["kill"]
    assert (load["sent"], load["answered"], load["unexpected"]) == (10_000, 10_000, 0)
    assert load["largest_distance"] < 1e-3 and abs(load["growth"]) < 0.1
    assert max(int(status) for statuses in fuzz["statuses"].values() for status in statuses) < 500
    assert (fuzz["lost"], fuzz["schemathesis"]["passed"]) == (0, True)
    assert set(kill["statuses"]) == {"200"} and kill["lost"] <= kill["clients"] and kill["back_seconds"] < 20
    assert sum(found["start"]["megabytes"].values()) < 700 and max(found["start"]["seconds"]) < 8
