"""The output `features`: nothing else of the graph changes."""

import numpy as np
import onnx
import pytest
from candidate_fixture import write_candidate

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.inference import Graph
from pipeline.input_check import network_features

WIDTHS = {"densenet121-robust-0-d78f8887": 1536, "custom_cnn-balanced-2-239b5a0e": 512}
CHAMPIONS = paths.ROOT / "models" / "champions"


@pytest.mark.parametrize("runtime", ["OpenVINO", "ONNX Runtime"])
@pytest.mark.parametrize(
    ("champion", "width"), [("densenet121-robust-0-d78f8887", 1536), ("custom_cnn-balanced-2-239b5a0e", 512)]
)
def test_logit_probability_and_map_stay_bit_by_bit(tmp_path, champion: str, width: int, runtime) -> None:
    before = CHAMPIONS / champion / "model.onnx"
    onnx.save(network_features.add(onnx.load(before)), tmp_path / "model.onnx")
    images = np.random.default_rng(0).integers(0, 256, (3, 128, 128)).astype(np.uint8)
    old, new = (Graph(path, runtime).answer(images) for path in (before, tmp_path / "model.onnx"))
    for first, second in zip(old[:3], new[:3], strict=True):
        assert np.array_equal(first, second)
    assert old.features is None and new.features.shape == (3, width) and np.isfinite(new.features).all()


def test_a_graph_that_has_the_output_stays_as_it_is() -> None:
    model = network_features.add(onnx.load(CHAMPIONS / "custom_cnn-balanced-2-239b5a0e" / "model.onnx"))
    assert network_features.add(model) == model


def test_a_graph_without_a_map_before_its_logit_is_refused(tmp_path) -> None:
    write_candidate(tmp_path)
    model = onnx.load(tmp_path / "models" / "candidate" / "model.onnx")
    for node in model.graph.node:
        if node.output[0] == "means":
            node.input[0] = "pixels"
    del model.graph.node[3:6]
    with pytest.raises(ProjectError, match="no map"):
        network_features.add(model)
