"""The two runtimes: the same answers, many pictures at once, a precision that is never their own choice."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ProjectError
from pipeline.serving import network
from tests.champion_fixture import SIDE, logit_of, write_champion

RUNTIMES = [network.OpenVinoNetwork, network.OnnxRuntimeNetwork]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_champion(tmp_path_factory.mktemp("network")) / "model.onnx"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_many_pictures_at_once_get_their_own_answers(runtime: type[network.Network], graph: Path) -> None:
    loaded = runtime(graph, 1, "float32")
    pictures = np.random.default_rng(0).integers(0, 256, (60, 1, 1)) * np.ones((1, SIDE, SIDE))
    pictures = pictures.astype(np.uint8)

    async def ask() -> list[network.Outputs]:
        return await asyncio.gather(*(loaded.infer(picture) for picture in pictures))

    answers = asyncio.run(ask())
    expected = np.array([logit_of(picture) for picture in pictures])
    assert np.array([answer.logit for answer in answers]) == pytest.approx(expected, abs=1e-4)
    assert np.array([answer.probability for answer in answers]) == pytest.approx(1 / (1 + np.exp(-expected)), abs=1e-5)
    assert {answer.map.shape for answer in answers} == {(8, 8)}


def test_runtimes_agree(graph: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    one, other = (asyncio.run(runtime(graph, 1, "float32").infer(picture)) for runtime in RUNTIMES)
    assert one.probability == pytest.approx(other.probability, abs=1e-6)
    assert one.map == pytest.approx(other.map, abs=1e-6)


def test_a_caller_that_gives_up_blocks_nobody(graph: Path) -> None:
    loaded = network.OpenVinoNetwork(graph, 1, "float32")
    picture = np.zeros((SIDE, SIDE), np.uint8)

    async def play() -> network.Outputs:
        impatient = [asyncio.create_task(loaded.infer(picture)) for _ in range(10)]
        await asyncio.sleep(0)
        for task in impatient:
            task.cancel()
        await asyncio.gather(*impatient, return_exceptions=True)
        return await asyncio.wait_for(loaded.infer(picture), 60)

    assert asyncio.run(play()).logit == pytest.approx(-4, abs=1e-4)


def test_onnx_runtime_refuses_a_precision_that_it_lacks(graph: Path) -> None:
    with pytest.raises(ValueError, match="bfloat16"):
        network.OnnxRuntimeNetwork(graph, 1, "bfloat16")


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(ProjectError, match=r"model\.onnx: cannot be loaded"):
        network.load(tmp_path / "model.onnx", 1)
