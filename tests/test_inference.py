"""The two runtimes: the same answers, many images at once, a precision that is never their own choice."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from pipeline import inference
from pipeline.errors import ProjectError
from tests.champion_fixture import SIDE, logit_of, write_champion

RUNTIMES = [inference.OpenVinoNetwork, inference.OnnxRuntimeNetwork]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (write_champion(tmp_path_factory.mktemp("network")) / "model.onnx").read_bytes()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_many_images_at_once_get_their_own_answers(runtime: type[inference.Network], graph: bytes) -> None:
    loaded = runtime(graph, 1, "float32")
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 1)) * np.ones((1, SIDE, SIDE))
    images = images.astype(np.uint8)

    async def ask() -> list[inference.Outputs]:
        return await asyncio.gather(*(loaded.infer(image) for image in images))

    answers = asyncio.run(ask())
    expected = np.array([logit_of(image) for image in images])
    assert np.array([answer.logit for answer in answers]) == pytest.approx(expected, abs=1e-4)
    assert np.array([answer.probability for answer in answers]) == pytest.approx(1 / (1 + np.exp(-expected)), abs=1e-5)
    assert {answer.map.shape for answer in answers} == {(8, 8)}


def test_runtimes_agree(graph: bytes) -> None:
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    first, second = (asyncio.run(runtime(graph, 1, "float32").infer(image)) for runtime in RUNTIMES)
    assert first.probability == pytest.approx(second.probability, abs=1e-6)
    assert first.map == pytest.approx(second.map, abs=1e-6)


def test_a_caller_that_gives_up_blocks_nobody(graph: bytes) -> None:
    loaded = inference.OpenVinoNetwork(graph, 1, "float32")
    image = np.zeros((SIDE, SIDE), np.uint8)

    async def play() -> inference.Outputs:
        impatient = [asyncio.create_task(loaded.infer(image)) for _ in range(10)]
        await asyncio.sleep(0)
        for task in impatient:
            task.cancel()
        await asyncio.gather(*impatient, return_exceptions=True)
        return await asyncio.wait_for(loaded.infer(image), 60)

    assert asyncio.run(play()).logit == pytest.approx(-4, abs=1e-4)


def test_a_served_network_answers_as_the_graph_of_many_images_does(graph: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(graph)
    images = np.random.default_rng(2).integers(0, 256, (40, SIDE, SIDE)).astype(np.uint8)
    for runtime in ("OpenVINO", "ONNX Runtime"):
        served = inference.load(graph, 1, runtime=runtime)
        many = inference.Graph(tmp_path / "model.onnx", runtime).answer(images)
        for row in (0, 39):
            answer = asyncio.run(served.infer(images[row]))
            assert answer.logit == pytest.approx(many.logits[row], abs=1e-5)
            assert answer.probability == pytest.approx(many.probabilities[row], abs=1e-6)
            assert answer.map == pytest.approx(many.maps[row], abs=1e-6)


def test_onnx_runtime_refuses_a_precision_that_it_lacks(graph: bytes) -> None:
    with pytest.raises(ProjectError, match="bfloat16"):
        inference.load(graph, 1, "bfloat16", "ONNX Runtime")


@pytest.mark.parametrize("runtime", ["OpenVINO", "ONNX Runtime"])
def test_a_file_that_is_no_network_is_named(runtime: inference.Runtime, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(ProjectError, match=rf"model\.onnx is no graph that {runtime} can load"):
        inference.Graph(tmp_path / "model.onnx", runtime)
    with pytest.raises(ProjectError, match=f"no graph that {runtime} can load"):
        inference.load(b"nonsense", 1, runtime=runtime)
    with pytest.raises(ProjectError, match="is missing"):
        inference.Graph(tmp_path / "other.onnx", runtime)
