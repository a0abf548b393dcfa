"""What was measured is what was promised, and docs/scaling.md shows it."""

import json
from pathlib import Path

from benchmarks import scaling_document
from benchmarks.record import KEPT
from pipeline.evaluation.documents import insert

ROOT = Path(__file__).resolve().parents[2]


def test_the_document_holds_what_was_measured() -> None:
    text = scaling_document.DOCUMENT.read_text()
    rendered = scaling_document.blocks()
    assert all(f"<!-- {name} -->" in text for name in rendered)
    assert insert(text, rendered) == text, "run python -m benchmarks.scaling_document"


def test_airflow_adds_less_than_15_percent_to_ten_minutes_of_work() -> None:
    (alone,) = json.loads(KEPT.read_text())["airflow-overhead"]["rows"]
    assert min(alone["here"], alone["peer"]) > 600
    assert alone["here"] / alone["peer"] < 1.15


def test_two_workers_take_at_most_0_65_of_the_serial_time() -> None:
    (mapped,) = json.loads(KEPT.read_text())["airflow-workers"]["rows"]
    assert mapped["here"] / mapped["peer"] <= 0.65


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


def test_evaluation_of_the_whole_table_takes_less_than_a_minute_and_starts_in_about_a_second() -> None:
    rows = {row["what"]: row["here"] for row in json.loads(KEPT.read_text())["evaluation"]["rows"]}
    (whole,) = (seconds for what, seconds in rows.items() if what.startswith("evaluate and compare"))
    assert whole < 60
    assert rows["start of evaluate, until it reads the predictions"] < 1.5


def test_training_is_1_5_times_as_fast_as_the_notebook_way_at_half_its_memory() -> None:
    rows = {row["what"]: row for row in json.loads(KEPT.read_text())["training"]["rows"]}
    rate, memory = (rows[f"train custom_cnn, augmented{end}"] for end in ("", ": peak memory"))
    assert rate["here"] / rate["peer"] >= 1.5
    assert memory["here"] / memory["peer"] <= 0.5
