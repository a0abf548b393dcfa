"""A tiny champion whose answers can be worked out by hand: the brighter an image, the more pneumonia."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.files import sha256_of
from pipeline.registry import contract as registry_contract
from pipeline.registry import verification

SIDE = 64
CELLS = 8


def logit_of(pixels: np.ndarray, slope: float = 8.0) -> float:
    """What the tiny network says of pixels uint8 [side, side]."""
    return slope * (float(np.mean(pixels, dtype=np.float64)) / 255 - 0.5)


def write_champion(
    root: Path,
    run: str = "tiny",
    slope: float = 8.0,
    side: int = SIDE,
    guard: dict[str, np.ndarray] | None = None,
    **changes: Any,
) -> Path:
    """Write a champion of `run` below `root`, whole and sealed, and make it the one that serves; `changes` of its contract.

    Returns its folder, which has the name of its version.
    """
    champions = root / "models" / "champions"
    draft = champions / f".{run}.draft"
    draft.mkdir(parents=True)
    onnx.save(_graph(slope, side), draft / "model.onnx")
    np.savez(draft / "guard.npz", **(plain_guard() if guard is None else guard))
    (draft / "card.md").write_text("# A tiny champion\n")
    folder = champions / seal(draft, contract("", side) | {"run": run} | changes)
    if folder.exists():  # written before: the same bytes
        shutil.rmtree(draft)
    else:
        os.replace(draft, folder)
    point_at(root, folder.name)
    return folder


def seal(folder: Path, terms: dict[str, Any]) -> str:
    """Write the contract of the files in `folder` as `package` does; returns the version that its content gives."""
    files = {path.name: sha256_of(path) for path in folder.iterdir() if path.name not in verification.UNNAMED}
    terms = terms | {"files": files}
    terms["version"] = registry_contract.version_of(terms)
    (folder / "contract.json").write_text(json.dumps(terms))
    return terms["version"]


def point_at(root: Path, version: str) -> None:
    """Make models/CHAMPION name this version, as a promotion does."""
    pointer = root / "models" / "CHAMPION.tmp"
    pointer.write_text(f"{version}\n")
    os.replace(pointer, root / "models" / "CHAMPION")


def plain_guard(limit: float = 1e9) -> dict[str, np.ndarray]:
    """A guard whose score of an image is its contrast less 3 (log of the deviation of its cells); `limit` is its threshold."""
    axes, features = 2, 12
    weights = np.zeros(features + 1)
    weights[2], weights[-1] = 1, -3
    return {
        "mean": np.zeros(256),
        "axes": np.zeros((axes, 256)),
        "spread": np.ones(axes),
        "rest": np.array(1e6),
        "centre": np.zeros(features),
        "scale": np.ones(features),
        "weights": weights,
        "distance_limit": np.array(1e6),
        "distance_unit": np.array(1.0),
        "likeness_limit": np.array(0.0),
        "likeness_unit": np.array(1.0),
        "threshold": np.array(limit),
    }


def contract(version: str, side: int = SIDE) -> dict[str, Any]:
    """The contract of the tiny champion."""
    estimate = {"value": 0.9, "low": 0.8, "high": 0.95}
    return {
        "name": "pneumonia",
        "version": version,
        "dataset": "phantom",
        "edition": "phantom",
        "dataset_digest": "0" * 64,
        "run": "tiny",
        "network": "mean",
        "precision": "float32",
        "input": {"name": "pixels", "dtype": "uint8", "shape": [None, side, side, 1], "range": [0, 255]},
        "outputs": {"logit": "float32 [n]", "probability": "float32 [n]", "map": f"float32 [n, {CELLS}, {CELLS}]"},
        "operating_points": {
            "sensitive": {"threshold": 0.4, "bound": 0.95},
            "specific": {"threshold": 0.6, "bound": 0.95},
        },
        "recalibration": {"intercept": 0.0, "slope": 1.0},
        "prevalence": 0.5,
        "map_scale": [-1.0, 1.0],
        "figures": {"validation": {"auc": estimate}, "test": {"auc": estimate}},
        "format": registry_contract.FORMAT,
        "intended_use": "Tests.",
        "changelog": ["made by a test"],
    }


def _graph(slope: float, side: int) -> onnx.ModelProto:
    """pixels uint8 [n, side, side, 1] -> logit = slope * (mean / 255 - 0.5), its sigmoid, and the mean of each cell."""
    constants = {
        "scale": np.float32(255),
        "half": np.float32(0.5),
        "slope": np.float32(slope),
        "map_shape": np.array([-1, CELLS, CELLS], np.int64),
        "flat": np.array([-1], np.int64),
    }
    cell = side // CELLS
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "scale"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["channels_first"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Sub", ["cells", "half"], ["centred"]),
        helper.make_node("Reshape", ["centred", "map_shape"], ["map"]),
        helper.make_node("GlobalAveragePool", ["centred"], ["mean"]),
        helper.make_node("Reshape", ["mean", "flat"], ["means"]),
        helper.make_node("Mul", ["means", "slope"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", side, side, 1])],
        [
            helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("map", TensorProto.FLOAT, ["n", CELLS, CELLS]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
