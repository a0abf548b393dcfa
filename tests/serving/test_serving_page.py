"""docs/serving.md names what there is."""

import re
from pathlib import Path

import pytest

from benchmarks import serving_document
from pipeline.reporting.markdown_blocks import insert
from pipeline.serving.openapi import REFUSED
from pipeline.serving.request_limits import UPLOADS
from pipeline.serving.settings import Serve

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text()


def test_every_setting_is_explained() -> None:
    missing = [name for name in Serve.model_fields if name not in TEXT]
    assert missing == []


def test_every_status_and_address_is_explained() -> None:
    assert set(re.findall(r"^\| (\d{3}) \|", TEXT, re.MULTILINE)) == set(REFUSED)
    assert all(f"`POST {route}`" in TEXT for route in UPLOADS)


def test_every_measured_metric_is_the_committed_one() -> None:
    assert insert(TEXT, serving_document.blocks()) == TEXT, "run `python -m benchmarks.serving_document`"


@pytest.mark.parametrize("name", serving_document.blocks())
def test_no_measured_part_is_left_out(name: str) -> None:
    assert f"<!-- {name} -->" in TEXT
