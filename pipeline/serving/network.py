"""The champion's ONNX graph, run by OpenVINO where it has a build, else by ONNX Runtime."""

import asyncio
import importlib.util
import sys
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from pipeline.errors import ProjectError

# OpenVINO's converter, which its import brings along, reports its use; without this package it has a silent stand-in.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

Precision = Literal["float32", "bfloat16"]
OUTPUTS = ("logit", "probability", "map")


class Outputs(NamedTuple):
    """What the graph says of one picture: logit, recalibrated probability, map float32 [h, w] (evidence for pneumonia)."""

    logit: float
    probability: float
    map: np.ndarray


class Network(ABC):
    """A graph that is ready to run."""

    runtime: str
    precision: Precision

    @abstractmethod
    async def infer(self, pixels: np.ndarray) -> Outputs:
        """Answer one picture, uint8 [side, side]; any number may be asked at once."""


def load(path: Path, threads: int, precision: Precision = "float32") -> Network:
    """Load an ONNX graph: `pixels` uint8 [n, side, side, 1] to `logit` [n], `probability` [n], `map` [n, h, w].

    Args:
        path: the graph.
        threads: CPU threads that it may use.
        precision: of the computation, told to the runtime and never left to its own choice.

    Raises:
        ProjectError: the file is no such graph, or this runtime cannot compute at this precision.
    """
    has_openvino = importlib.util.find_spec("openvino") is not None  # there are platforms without a build
    runtime: type[OpenVinoNetwork] | type[OnnxRuntimeNetwork] = OpenVinoNetwork if has_openvino else OnnxRuntimeNetwork
    try:
        return runtime(path, threads, precision)
    except Exception as error:  # either runtime raises kinds of its own
        raise ProjectError(f"{path}: cannot be loaded as a network: {str(error).splitlines()[0]}") from error


class OpenVinoNetwork(Network):
    """One compiled graph and its asynchronous queue; a compiled graph must not be called from several threads."""

    runtime = "OpenVINO"

    def __init__(self, path: Path, threads: int, precision: Precision) -> None:
        import openvino  # half a second, which the server's parent process need not spend

        self.precision = precision
        core = openvino.Core()
        model = core.read_model(path)
        shape = model.input("pixels").partial_shape
        shape[0] = 1
        model.reshape({"pixels": shape})
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": threads,
                "ENABLE_CPU_PINNING": False,  # every worker would pin itself to the same first cores
            },
        )
        jobs = 2  # one computes while the other's answer is collected
        self._queue = openvino.AsyncInferQueue(compiled, jobs)
        self._queue.set_callback(self._finish)
        # The queue blocks its caller when it is full, so the event loop must never call it then.
        self._free = asyncio.Semaphore(jobs)

    async def infer(self, pixels: np.ndarray) -> Outputs:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outputs] = loop.create_future()
        await self._free.acquire()
        future.add_done_callback(lambda _: self._free.release())
        self._queue.start_async({"pixels": pixels[None, :, :, None]}, (loop, future))
        # A caller that gives up must not free a job that still computes.
        return await asyncio.shield(future)

    def _finish(self, request: Any, task: tuple[asyncio.AbstractEventLoop, "asyncio.Future[Outputs]"]) -> None:
        loop, future = task
        logit, probability, evidence = (request.get_tensor(name).data for name in OUTPUTS)
        loop.call_soon_threadsafe(
            future.set_result, Outputs(float(logit[0]), float(probability[0]), evidence[0].copy())
        )


class OnnxRuntimeNetwork(Network):
    """The same graph on ONNX Runtime, one picture at a time in a thread of its own."""

    runtime = "ONNX Runtime"

    def __init__(self, path: Path, threads: int, precision: Precision) -> None:
        import onnxruntime

        if precision != "float32":
            raise ValueError(f"ONNX Runtime computes in float32, the champion's figures are of {precision}")
        self.precision = precision
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._thread = ThreadPoolExecutor(1, "network")

    async def infer(self, pixels: np.ndarray) -> Outputs:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, pixels)

    def _run(self, pixels: np.ndarray) -> Outputs:
        logit, probability, evidence = self._session.run(OUTPUTS, {"pixels": pixels[None, :, :, None]})
        return Outputs(float(logit[0]), float(probability[0]), evidence[0])
