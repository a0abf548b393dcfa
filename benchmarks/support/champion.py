"""An untrained network as a champion, so that the service can be measured before there is a trained one."""

import json
import os
from pathlib import Path

import numpy as np
import onnx

from pipeline.data.imaging import read_pixels
from pipeline.inference import Graph
from pipeline.input_check import fit, network_features


def write(root: Path, graph: onnx.ModelProto, network: str, side: int) -> None:
    """Write `models/champions/untrained/` and make it the champion below `root`; its metrics are empty."""
    folder = root / "models" / "champions" / "untrained"
    folder.mkdir(parents=True)
    onnx.save(network_features.add(graph), folder / "model.onnx")
    served = Graph(folder / "model.onnx")
    source = Path(os.environ["CXR_DATA"]) if "CXR_DATA" in os.environ else root / "phantoms"
    files = sorted(source.rglob("*.jpeg"))
    chest = np.stack([read_pixels(path, side) for path in files[:: max(1, len(files) // 300)]])

    def ask(pixels: np.ndarray, what: str) -> fit.Seen:
        return fit.seen(pixels, served.answer(pixels, what).features)

    np.savez(
        folder / "guard.npz",
        **fit.fit(fit.gather(chest, ask, seed=0), fit.Validation(ask(chest, "chests"), np.arange(len(chest)))),
    )
    contract = {
        "version": "untrained",
        "network": network,
        "dataset": "none",
        "precision": "float32",
        "input": {"name": "pixels", "dtype": "uint8", "shape": [None, side, side, 1], "range": [0, 255]},
        "operating_points": {name: {"threshold": 0.5, "bound": 0} for name in ("sensitive", "specific")},
        "prevalence": 0.5,
        "map_scale": [0.0, 1.0],
        "figures": {"validation": {}, "test": {}},
        "intended_use": "Measuring the service.",
        "changelog": [],
    }
    (folder / "contract.json").write_text(json.dumps(contract))
    (root / "models" / "CHAMPION").write_text("untrained\n")
