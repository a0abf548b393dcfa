"""The champion as it serves: contract, network and guard of one version, verified, loaded and warmed."""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import inference, outcomes, paths
from pipeline.errors import ProjectError
from pipeline.input_check import guard
from pipeline.outcomes import Thresholds
from pipeline.registry import verification
from pipeline.serving.profile import Profile


@dataclass(frozen=True)
class Model:
    """One version, ready to answer; `thresholds` are those of the site's `profile` where it has one."""

    version: str
    contract: dict[str, Any]
    thresholds: Thresholds
    network: inference.Network
    guard: guard.Guard
    saliency_checks: (
        dict[str, Any] | None
    )  # by check: what it asks, what was found, whether it passes; None: not at hand
    profile: Profile | None = None

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
            "profile": self.profile and {"version": self.profile.version, **self.profile.model_dump()},
            "served": {"runtime": self.network.runtime, "precision": self.network.precision},
        }


def champion_version() -> str:
    """The version named by models/CHAMPION.

    Raises:
        ProjectError: there is none, or it is no plain name.
    """
    return verification.pointer()


def load(version: str, threads: int, profile: Profile | None = None) -> Model:
    """Load `models/champions/<version>`, from bytes that were verified, to be read by a site's profile if there is one.

    Raises:
        ProjectError: a file is missing or is not what it should be, or the profile is of another champion.
    """
    if profile:
        profile.expect(version)
    champion = verification.read(version)
    terms, files = champion.contract, champion.files
    try:
        network = inference.load(files["model.onnx"], threads, terms["precision"])
        return Model(
            version,
            terms,
            profile.limits if profile else outcomes.thresholds(terms),
            network,
            guard.load(io.BytesIO(files["guard.npz"])),
            _saliency_checks(terms["run"]),
            profile,
        )
    except ProjectError as error:
        raise ProjectError(f"models/champions/{version}: {error}") from None


def _saliency_checks(run: str) -> dict[str, Any] | None:
    """What `explain` found of this run's maps; None where it looked at another run, or its file is not at hand."""
    try:
        summary = json.loads(paths.SALIENCY.read_text(encoding="utf-8"))
        return summary["checks"] if summary["run"] == run else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


async def warm_up(model: Model) -> None:
    """Answer one grey image: the first client shall not wait for buffers, and what is no answer shall not serve.

    Raises:
        ProjectError: the network's answer is none.
    """
    outputs = await model.network.infer(np.full((model.side, model.side), 127, np.uint8))
    if not (0 <= outputs.probability <= 1 and outputs.map.ndim == 2 and np.isfinite(outputs.map).all()):
        raise ProjectError(f"models/champions/{model.version}: the network's answer to a grey image is none")
