"""Run the ONNX graph of a candidate or champion: by OpenVINO where it has a build for the platform, else by ONNX Runtime.

A graph maps `pixels`, uint8 [n, side, side, 1], to `logit` [n], `probability` [n], `map` [n, h, w] and, since 0.2, `features`
[n, k], which the input check reads. `Graph` answers many
images at a time; `load` gives a `Network`, which answers one image for each caller of an event loop.
"""

import asyncio
import importlib.util
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from pipeline.errors import ProjectError

# OpenVINO's converter, which its import brings along, reports its use; without this package it has a silent stand-in.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

Precision = Literal["float32", "bfloat16"]
Runtime = Literal["OpenVINO", "ONNX Runtime"]
Run = Callable[[np.ndarray], list[np.ndarray]]  # a batch of pixels [n, side, side, 1] to what `_outputs` names

OUTPUTS = ("logit", "probability", "map")
FEATURES = "features"  # the output that graphs of 0.1.0 do not have
PRECISION: Precision = "float32"  # OpenVINO's own choice is bfloat16 where the CPU has it: 1.5e-4 away from Keras
RUNTIME: Runtime = "OpenVINO" if importlib.util.find_spec("openvino") else "ONNX Runtime"
BATCH = 32
JOBS = 2  # of a served network: one computes while the other's answer is collected


class Answers(NamedTuple):
    """Of n images: logits float64 [n], recalibrated probabilities float64 [n], maps float32 [n, h, w].

    `features` float32 [n, k]: what the input check reads; None where the graph does not have them.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    maps: np.ndarray
    features: np.ndarray | None = None


class Outputs(NamedTuple):
    """Of one image: logit, recalibrated probability, map float32 [h, w] (evidence for pneumonia).

    `features` float32 [k]: what the input check reads; None where the graph does not have them.
    """

    logit: float
    probability: float
    map: np.ndarray
    features: np.ndarray | None = None


class Graph:
    """A graph that answers many images, in float32.

    Raises:
        ProjectError: the file is missing, or no graph that the runtime can load.
    """

    def __init__(self, path: Path, runtime: Runtime = RUNTIME) -> None:
        if not path.is_file():
            raise ProjectError(f"{path} is missing")
        opened = _openvino_batches if runtime == "OpenVINO" else _onnxruntime_batches
        try:
            self._run = opened(path.read_bytes())
        except Exception as error:  # noqa: BLE001 - each runtime raises kinds of its own
            raise ProjectError(f"{path} is {_no_graph(runtime, error)}") from None

    def answer(self, pixels: np.ndarray, title: str = "images") -> Answers:
        """Ask the graph about images, uint8 [n, side, side]; `title` stands before the progress bar."""
        from tqdm import tqdm  # the service's environment has none

        starts = tqdm(range(0, len(pixels), BATCH), desc=title, unit="batch", disable=len(pixels) < 10 * BATCH)
        parts = [self._run(np.ascontiguousarray(pixels[start : start + BATCH])[..., None]) for start in starts]
        logits, probabilities, maps, *features = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Answers(logits.astype(np.float64), probabilities.astype(np.float64), maps, *features)


class Network(ABC):
    """A graph that answers one image for each caller of an event loop."""

    runtime: Runtime
    precision: Precision

    @abstractmethod
    async def infer(self, pixels: np.ndarray) -> Outputs:
        """Answer one image, uint8 [side, side]; any number may be asked at once."""


def load(graph: bytes, threads: int, precision: Precision = PRECISION, runtime: Runtime = RUNTIME) -> Network:
    """Load a graph that is to be served.

    Args:
        graph: an ONNX file's bytes, which hold all its weights.
        threads: CPU threads that it may use.
        precision: of the computation, told to the runtime and never left to its own choice.
        runtime: which of the two computes.

    Raises:
        ProjectError: the bytes are no such graph, or the runtime cannot compute at this precision.
    """
    served = OpenVinoNetwork if runtime == "OpenVINO" else OnnxRuntimeNetwork
    try:
        return served(graph, threads, precision)
    except Exception as error:  # noqa: BLE001 - either runtime raises kinds of its own
        raise ProjectError(_no_graph(runtime, error)) from None


class OpenVinoNetwork(Network):
    """One compiled graph and its asynchronous queue; a compiled graph must not be called from several threads."""

    runtime = "OpenVINO"

    def __init__(self, graph: bytes, threads: int, precision: Precision) -> None:
        import openvino  # half a second, which the server's parent process need not spend

        self.precision = precision
        core = openvino.Core()
        model = core.read_model(graph, b"")
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
        self._outputs = _outputs([output.any_name for output in compiled.outputs])
        self._queue = openvino.AsyncInferQueue(compiled, JOBS)
        self._queue.set_callback(self._finish)
        # The queue blocks its caller when it is full, so the event loop must never call it then.
        self._free = asyncio.Semaphore(JOBS)

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
        tensors = [request.get_tensor(name).data for name in self._outputs]
        loop.call_soon_threadsafe(future.set_result, _of_one(tensors))


class OnnxRuntimeNetwork(Network):
    """The same graph on ONNX Runtime, one image at a time in a thread of its own."""

    runtime = "ONNX Runtime"

    def __init__(self, graph: bytes, threads: int, precision: Precision) -> None:
        if precision != "float32":
            raise ValueError(f"{self.runtime} computes in float32, the champion's metrics are of {precision}")
        self.precision = precision
        self._run = _onnxruntime_batches(graph, threads)
        self._thread = ThreadPoolExecutor(1, "network")

    async def infer(self, pixels: np.ndarray) -> Outputs:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, pixels)

    def _answer(self, pixels: np.ndarray) -> Outputs:
        return _of_one(self._run(pixels[None, :, :, None]))


def _outputs(of_graph: list[str]) -> list[str]:
    """The outputs to ask for, in order: the three of every graph, and the features where it has them."""
    return [*OUTPUTS, *(name for name in of_graph if name == FEATURES)]


def _of_one(tensors: list[np.ndarray]) -> Outputs:
    """The answer to the only image of a batch, out of buffers that the next batch will fill."""
    logit, probability, *others = tensors
    return Outputs(float(logit[0]), float(probability[0]), *(values[0].copy() for values in others))


def _openvino_batches(graph: bytes) -> Run:
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(graph, b""), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = _outputs([output.any_name for output in compiled.outputs])
    places = [compiled.output(name) for name in names]
    request = compiled.create_infer_request()

    def run(batch: np.ndarray) -> list[np.ndarray]:
        results = request.infer({"pixels": batch})
        return [np.array(results[place]) for place in places]

    return run


def _onnxruntime_batches(graph: bytes, threads: int = 0) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # 0: the runtime's own choice
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = _outputs([output.name for output in session.get_outputs()])
    return lambda batch: session.run(names, {"pixels": batch})


def _no_graph(runtime: Runtime, error: Exception) -> str:
    return f"no graph that {runtime} can load: {' '.join(str(error).split())[:200]}"
