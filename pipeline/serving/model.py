"""The champion as it serves: contract, network and guard of one version, loaded and warmed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import inference, outcomes, paths
from pipeline.errors import ProjectError
from pipeline.input_check import guard
from pipeline.outcomes import Thresholds


@dataclass(frozen=True)
class Model:
    """One version, ready to answer."""

    version: str
    contract: dict[str, Any]
    thresholds: Thresholds
    network: inference.Network
    guard: guard.Guard
    saliency_checks: (
        dict[str, Any] | None
    )  # by check: what it asks, what was found, whether it passes; None: not at hand

    @property
    def side(self) -> int:
        """Pixels of the square that the network takes."""
        return int(self.contract["input"]["shape"][1])

    def threshold(self, point: str) -> float:
        """Probability from which the operating point `sensitive` or `specific` says PNEUMONIA."""
        return float(self.contract["operating_points"][point]["threshold"])

    def card(self) -> dict[str, Any]:
        """The contract, its thresholds in order whatever its age, and how this process computes it."""
        return {
            **self.contract,
            "thresholds": {name: limit._asdict() for name, limit in self.thresholds._asdict().items()},
            "calibration": outcomes.calibration(self.contract),
            "saliency_checks": self.saliency_checks,
            "served": {"runtime": self.network.runtime, "precision": self.network.precision},
        }


def champion_version() -> str:
    """The version named by models/CHAMPION.

    Raises:
        ProjectError: there is none.
    """
    try:
        return paths.CHAMPION.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise ProjectError("models/CHAMPION is missing: there is no champion yet (make promote)") from None


def load(version: str, threads: int) -> Model:
    """Load and warm up `models/champions/<version>`.

    Raises:
        ProjectError: a file is missing or is not what it should be.
    """
    folder = paths.CHAMPIONS / version
    contract = _read_contract(folder / "contract.json")
    try:
        limits = outcomes.thresholds(contract)
    except ProjectError as error:
        raise ProjectError(f"{folder.relative_to(paths.ROOT)}/contract.json: {error}") from None
    graph = _load_network(folder / "model.onnx", threads, contract["precision"])
    checks = _saliency_checks(contract.get("run"))
    return Model(version, contract, limits, graph, guard.load(folder / "guard.npz"), checks)


def _read_contract(path: Path) -> dict[str, Any]:
    try:
        contract = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(f"{path.relative_to(paths.ROOT)} is missing: the champion's files are not at hand") from None
    except json.JSONDecodeError as error:
        raise ProjectError(f"{path.relative_to(paths.ROOT)} is no JSON: {error}") from None
    for key in ("version", "precision", "input", "prevalence", "map_scale"):
        if key not in contract:
            raise ProjectError(f"{path.relative_to(paths.ROOT)}: {key!r} is missing")
    return contract


def _load_network(path: Path, threads: int, precision: inference.Precision) -> inference.Network:
    try:
        return inference.load(path.read_bytes(), threads, precision)
    except (OSError, ProjectError) as error:
        raise ProjectError(f"{path.relative_to(paths.ROOT)}: {error}") from None


def _saliency_checks(run: str | None) -> dict[str, Any] | None:
    """What `explain` found of this run's maps; None where it looked at another run, or its file is not at hand."""
    try:
        summary = json.loads(paths.SALIENCY.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return summary["checks"] if run and summary.get("run") == run else None


async def warm_up(model: Model) -> None:
    """Answer one grey picture, so that the first client does not wait for buffers to be made."""
    await model.network.infer(np.full((model.side, model.side), 127, np.uint8))
