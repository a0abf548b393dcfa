"""The benchmarks and what is written from them: the table of README.md, docs/scaling.md, docs/cluster.md."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import scaling_document
from benchmarks.support.record import hold, row
from pipeline.reporting import speed
from pipeline.reporting.markdown_blocks import insert

ROOT = Path(__file__).resolve().parents[2]


def test_the_document_holds_what_was_measured() -> None:
    text = scaling_document.DOCUMENT.read_text()
    rendered = scaling_document.blocks()
    assert all(f"<!-- {name} -->" in text for name in rendered)
    assert insert(text, rendered) == text, "run python -m benchmarks.scaling_document"


def test_the_run_of_six_networks_on_three_groups_is_whole() -> None:
    """docs/cluster.md is written by scripts/cluster.py."""
    text = (ROOT / "docs" / "cluster.md").read_text()
    lines = [line.split() for line in text.splitlines() if " success " in line]
    assert len(lines) == len({line[0] for line in lines}) == 18
    assert {line[2] for line in lines} == {"worker-1", "worker-2"}
    begun = {line[0]: int(line[3]) for line in lines}
    killed = {line[0] for line in lines if line[-2:] == ["killed", "once"]}
    assert len(killed) == 1
    assert all(times == (2 if name in killed else 1) for name, times in begun.items())
    assert "dvc.lock equals the serial one, as parsed YAML" in text


def test_a_metric_beside_its_peer_says_which_way_is_better(tmp_path: Path) -> None:
    kept = tmp_path / "measured.json"
    kinds = [("rate", "images/s", 30.0, 10.0), ("memory", "MiB", 300, 600), ("time", "s", 1.5, 1.0)]
    rows = [row(what, unit, here, peer, "the other way") for what, unit, here, peer in kinds]
    kept.write_text(json.dumps({"training": {"cores": 2, "rows": [*rows, row("alone", "min", 2.0)]}}))
    told = [line.split(" | ")[-1] for line in speed.table(kept).splitlines() if line.startswith("| ")][1:]
    assert told == ["3.00 times as fast |", "0.50 of the memory |", "1.50 times as long |", "- |"]


def test_a_limit_that_was_passed_is_named_and_ends_with_status_1() -> None:
    hold({"as fast": True})
    with pytest.raises(SystemExit, match="past the limit: as small"):
        hold({"as fast": True, "as small": False})


def test_make_benchmarks_runs_every_benchmark_and_writes_the_documents_last() -> None:
    makefile = (ROOT / "Makefile").read_text()
    listed, writers = (
        re.findall(rf"^{name} := (.*)$", makefile, re.MULTILINE)[0].split() for name in ("BENCHMARKS", "WRITERS")
    )
    there = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"__init__", "record"}
    assert sorted(listed + writers) == sorted(there)
    assert all(name.endswith("_document") for name in writers)
