"""What a change does to settings, metrics and curves, as Markdown for the people who review it.

`python -m pipeline.ci.change_report BASE` prints `dvc params diff` and `dvc metrics diff` against BASE and draws
the validation AUC of every run before and after. It shows; `metrics_gate` decides.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.files import read_json

METRIC = "validation_auc"


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="change_report", description=__doc__)
    parser.add_argument("base", help="the commit or branch to compare with, as in: main")
    base = parser.parse_args().base
    study = paths.METRICS / "study.json"
    now = read_json(study, otherwise={})
    before = _at(base, "metrics/study.json")
    sections = [
        ("Settings", _dvc("params", "diff", base, "--md") or "No setting changed."),
        ("Validation AUC", draw(before, now)),
        ("Metrics", _dvc("metrics", "diff", base, "--md", "--precision", "4") or "No metric changed."),
    ]
    print("\n\n".join(f"### {title}\n\n{text}" for title, text in sections))


def draw(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """A chart in Mermaid's language, which GitHub draws: one point a run, before and now, for runs that both have."""
    before, now = _validation_auc(before), _validation_auc(now)
    runs = sorted(before.keys() & now.keys())
    if not runs:
        return "No run is in both."
    lines = [[f"{study[name]:.4f}" for name in runs] for study in (before, now)]
    lowest = min(float(value) for line in lines for value in line)
    labels = ", ".join(f'"{name}"' for name in runs)
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta",
            f"    x-axis [{labels}]",
            f'    y-axis "validation AUC (line: now, bar: before)" {lowest - 0.01:.2f} --> 1',
            f"    bar [{', '.join(lines[0])}]",
            f"    line [{', '.join(lines[1])}]",
            "```",
        ]
    )


def _validation_auc(study: Mapping[str, Any]) -> dict[str, float]:
    """By run; 0.1.0 kept it under each run."""
    by_run = study.get(
        METRIC, {name: metrics.get(METRIC) for name, metrics in study.items() if isinstance(metrics, Mapping)}
    )
    return {name: value for name, value in by_run.items() if isinstance(value, float)}


def _at(commit: str, path: str) -> dict[str, Any]:
    done = _run(["git", "show", f"{commit}:{path}"])
    return json.loads(done.stdout) if done.returncode == 0 else {}


def _dvc(*arguments: str) -> str:
    done = _run([str(Path(sys.executable).parent / "dvc"), *arguments])
    if done.returncode != 0:
        raise ProjectError(f"dvc {' '.join(arguments)}: {(done.stderr.strip().splitlines() or ['failed'])[0]}")
    return done.stdout.strip()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    run("change-report", main)
