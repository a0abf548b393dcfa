"""docker/prometheus: checked and tested by promtool, of metrics that exist."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.serving import metrics
from pipeline.serving.request_limits import ROUTES

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docker" / "prometheus"
RULES = [rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"] for rule in group["rules"]]
AIRFLOW = (
    "airflow_dagrun_duration_failed_pneumonia_retrain_count"  # tests/containers/test_full.py hears Airflow send it
)


@pytest.mark.parametrize(
    "command", ["check rules rules.yaml", "test rules rules_test.yaml drift_test.yaml", "check config prometheus.yaml"]
)
def test_promtool_finds_nothing(command: str) -> None:
    if not shutil.which("promtool"):
        pytest.skip("NOT TESTED: the alerts; promtool is missing (apt-get install prometheus)")
    done = subprocess.run(["promtool", *command.split()], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_raised_and_held_back_in_a_case() -> None:
    cases = [case for path in FOLDER.glob("*_test.yaml") for case in yaml.safe_load(path.read_text())["tests"]]
    told = [(alert["alertname"], bool(alert["exp_alerts"])) for case in cases for alert in case["alert_rule_test"]]
    alerts = {rule["alert"] for rule in RULES if "alert" in rule}
    assert {name for name, raised in told if raised} == alerts
    assert {name for name, raised in told if not raised} == alerts


def test_rules_ask_for_metrics_that_exist() -> None:
    kinds = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}
    known = {AIRFLOW}
    for metric in (metrics.REQUESTS, metrics.REFUSALS, metrics.SCORE, metrics.REFUSED):
        (family,) = metric.describe()
        known |= {family.name + ending for ending in kinds[family.type]}
    for rule in RULES:
        for name in re.findall(r"\b(?:pneumonia|airflow)_\w+", rule["expr"]):
            assert name in known, name
    text = (FOLDER / "rules.yaml").read_text()
    for routes in re.findall(r'route=~"([^"]+)"', text):
        assert set(routes.split("|")) <= ROUTES
    words = "".join(path.read_text() for path in (ROOT / "pipeline" / "serving").glob("*.py"))
    for error in re.findall(r'error="(\w+)"', text):
        assert f'"{error}"' in words, error
