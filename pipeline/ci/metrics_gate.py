"""May this change be merged? Three questions about the committed results, answered against a base commit.

`dvc metrics diff` shows every metric and always exits 0. Among dozens of metrics some always fall by chance, so one
metric decides, on validation patients: the released champion's, with a paired bootstrap by patient. How far it may fall
stands in the base's params.yaml, so that no change can widen its own margin.
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline import git, paths, settings
from pipeline.command import run
from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap, metrics, predictions
from pipeline.evaluation.predictions import Split
from pipeline.schema import load_yaml, parse
from pipeline.settings import MetricsGate

ACCEPTED = Path("metrics/accepted_falls.yaml")
DISAGREEMENTS = ("modified", "changed command")


@dataclass(frozen=True)
class Verdict:
    """One line of the answer. `fall` is what an entry of accepted_falls.yaml names; None: nothing can excuse it."""

    passed: bool
    rule: str
    why: str
    fall: str | None = None


def main() -> None:
    """Print one line a rule as a Markdown table; end with status 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="the commit or branch to compare with, as in: main")
    base = git.output("merge-base", parser.parse_args().base, "HEAD").strip()
    verdicts = _excuse(
        [
            *_champion(base, *_rules(base)),
            *_missing_runs(base),
            _pipeline_agrees(),
        ],
        base,
    )
    print(f"Against {base[:12]}:\n\n| | rule | found |\n|---|---|---|")
    for verdict in verdicts:
        print(f"| {'pass' if verdict.passed else '**FAIL**'} | {verdict.rule} | {verdict.why} |")
    sys.stdout.flush()
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if failed:
        meant = [verdict.fall for verdict in failed if verdict.fall]
        hint = f"; if it is meant, say why in {ACCEPTED} under fall: {' or '.join(meant)}" if meant else ""
        raise ProjectError(f"{len(failed)} of {len(verdicts)} rules failed: {', '.join(v.rule for v in failed)}{hint}")


def _rules(base: str) -> tuple[MetricsGate, int, int]:
    """Margins, resamples and seed as the base has them; this change's own where the base knows none yet.

    Raises:
        ProjectError: they cannot be read.
    """
    options, source = settings.load(), "the base's params.yaml"
    known = load_yaml(_show(base, paths.PARAMS.name) or "", source)
    if not isinstance(known, dict) or "metrics_gate" not in known:
        return options.metrics_gate, options.evaluate.resamples, options.evaluate.seed
    margins = parse(MetricsGate, known["metrics_gate"], "metrics_gate", source)
    try:
        return margins, known["evaluate"]["resamples"], known["evaluate"]["seed"]
    except (KeyError, TypeError) as error:
        raise ProjectError(f"{source} cannot be read: evaluate: {error}") from None


def compare(base: Split, head: Split, margins: MetricsGate, resamples: int, seed: int) -> list[Verdict]:
    """Is the champion's validation AUC or log loss worse than the base's by more than its margin?

    Both are measured on the images that both have, with the same resamples of patients. A rule fails when the
    one-sided 95 % bound of the fall lies above the margin: the fall is larger than the margin whatever patients
    chance had given.

    Raises:
        ProjectError: the two have no image in common, or disagree on a label.
    """
    left, right = _shared(base, head)
    sample = bootstrap.draw(left.labels, left.patients, resamples, seed)
    verdicts = []
    for name, margin, sign in (("auc", margins.auc, 1.0), ("log_loss", margins.log_loss, -1.0)):
        before, after = (_measure(name, split, sample) for split in (left, right))
        fall = sign * (before - after)
        bound = bootstrap.lower_bound(fall)
        verdicts.append(
            Verdict(
                passed=not bound > margin,
                rule=f"champion's validation {name.replace('_', ' ')}",
                why=f"{before[0]:.4f} before, {after[0]:.4f} now; worse by {fall[0]:.4f}, at least {bound:.4f} "
                f"(95 % bound, {len(left.paths)} images); allowed: {margin:g}",
                fall=name,
            )
        )
    return verdicts


def _measure(name: str, split: Split, sample: bootstrap.Sample) -> bootstrap.Floats:
    if name == "auc":
        return bootstrap.auc(split.labels, split.logits, sample)
    return metrics.probabilities(split.labels, split.logits, sample)["log_loss"]


def _shared(base: Split, head: Split) -> tuple[Split, Split]:
    """Both splits, narrowed to the images that both have; the same order."""
    common = set(base.paths) & set(head.paths)
    if not common:
        raise ProjectError("the champions of base and head share no validation image: they cannot be compared")
    narrowed = []
    for split in (base, head):
        rows = [row for row, path in enumerate(split.paths) if path in common]
        narrowed.append(
            Split(
                paths=[split.paths[row] for row in rows],
                labels=split.labels[rows],
                subtypes=[split.subtypes[row] for row in rows],
                patients=[split.patients[row] for row in rows],
                logits=split.logits[rows],
            )
        )
    left, right = narrowed
    if not np.array_equal(left.labels, right.labels):
        raise ProjectError("the champions of base and head disagree on the label of a validation image")
    return left, right


def _champion(base: str, margins: MetricsGate, resamples: int, seed: int) -> list[Verdict]:
    rule = "champion's validation metrics"
    then = _champion_run(lambda path: _show(base, path))
    if then is None:
        return [Verdict(True, rule, "the base has released no champion")]
    now = _champion_run(_on_disk)
    if now is None:
        return [Verdict(False, rule, f"the base has a champion (run {then}), this change has none", fall="champion")]
    if not paths.predictions(now).is_dir():
        return [Verdict(False, rule, f"the champion's predictions/{now}/ are not committed", fall="champion")]
    with tempfile.TemporaryDirectory() as folder:
        archive = git.output_bytes("archive", base, f"predictions/{then}")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        before = predictions.read(Path(folder) / "predictions" / then)
    return compare(before.validation, predictions.read(paths.predictions(now)).validation, margins, resamples, seed)


def _champion_run(read: Any) -> str | None:
    """The run that the released champion came from; None without a champion."""
    version = read("models/CHAMPION")
    if version is None or not version.strip():
        return None
    contract = read(f"models/champions/{version.strip()}/contract.json")
    if contract is None:
        raise ProjectError(f"models/CHAMPION names {version.strip()}, but models/champions/ has no contract of it")
    try:
        return str(json.loads(contract)["run"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProjectError(
            f"models/champions/{version.strip()}/contract.json cannot be read: {type(error).__name__}: {error}"
        ) from None


def _missing_runs(base: str) -> list[Verdict]:
    """One verdict for each run whose predictions the base has and the working tree lacks."""
    listed = git.output("ls-tree", "-r", "--name-only", base, "predictions/").splitlines()
    before = {Path(line).parts[1] for line in listed if line.endswith(("/images.csv", "/pictures.csv"))}
    missing = sorted(name for name in before if not (paths.predictions(name) / "images.csv").is_file())
    if not missing:
        return [Verdict(True, "no run is missing", f"all {len(before)} runs of the base are here")]
    return [
        Verdict(False, f"run {name}", "the base has its predictions, this change does not", fall=f"run {name}")
        for name in missing
    ]


def _pipeline_agrees() -> Verdict:
    """Do dvc.yaml, params.yaml, the code and the committed results agree with dvc.lock?"""
    rule = "dvc.yaml, params and lock agree"
    result = subprocess.run(
        [str(Path(sys.executable).parent / "dvc"), "status", "--json"],
        cwd=paths.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        return Verdict(False, rule, f"dvc status failed: {' '.join(lines[:3])}")
    try:
        stages = json.loads(result.stdout or "{}")
    except ValueError:
        return Verdict(False, rule, f"dvc status answered no JSON: {' '.join(result.stdout.split())[:200]}")
    wrong = {name: changed for name, changes in stages.items() if (changed := _disagreements(changes))}
    if not wrong:
        return Verdict(True, rule, "nothing is modified since it ran")
    return Verdict(False, rule, "; ".join(f"{name}: {', '.join(changed)}" for name, changed in sorted(wrong.items())))


def _disagreements(changes: list[Any]) -> list[str]:
    """Of one stage's status, what contradicts the lock. Files that lie elsewhere ("deleted", "not in cache") do not."""
    disagreements = []
    for change in changes:
        if isinstance(change, str):
            disagreements += [change] if change in DISAGREEMENTS else []
            continue
        for files in change.values():
            for path, state in files.items():
                keys = state.items() if isinstance(state, dict) else [(None, state)]
                disagreements += [
                    f"{path}{f' {key}' if key else ''} {word}" for key, word in keys if word in DISAGREEMENTS
                ]
    return disagreements


def _excuse(verdicts: list[Verdict], base: str) -> list[Verdict]:
    """Pass what a new entry of accepted_falls.yaml gives a reason for. An entry that the base has was for an earlier fall."""
    reasons = _accepted(_on_disk(str(ACCEPTED)))
    old = Counter(fall for fall, _ in _accepted(_show(base, str(ACCEPTED))))
    fresh: dict[str, str] = {}
    for fall, reason in reasons:
        if old[fall] > 0:
            old[fall] -= 1
        else:
            fresh[fall] = reason
    return [
        Verdict(True, verdict.rule, f"{verdict.why}. Accepted: {fresh[verdict.fall]}", verdict.fall)
        if not verdict.passed and verdict.fall in fresh
        else verdict
        for verdict in verdicts
    ]


def _accepted(text: str | None) -> list[tuple[str, str]]:
    """Entries (fall, reason) in file order; an entry without a reason is an error."""
    try:
        accepted = yaml.safe_load(text or "") or []
    except yaml.YAMLError as error:
        raise ProjectError(f"{ACCEPTED} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(accepted, list):
        raise ProjectError(f"{ACCEPTED}: expected a list of entries with `fall` and a `reason`")
    entries = []
    for entry in accepted:
        if not isinstance(entry, dict) or set(entry) != {"fall", "reason"} or not str(entry["reason"]).strip():
            raise ProjectError(f"{ACCEPTED}: expected entries with `fall` and a `reason`, got {entry!r}")
        entries.append((str(entry["fall"]), " ".join(str(entry["reason"]).split())))
    return entries


def _on_disk(path: str) -> str | None:
    file = paths.ROOT / path
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _show(commit: str, path: str) -> str | None:
    """A file's text at a commit; None when it is not there."""
    listed = git.output("ls-tree", "--name-only", commit, path)
    return git.output("show", f"{commit}:{path}") if listed.strip() else None


if __name__ == "__main__":
    run("metrics-gate", main)
