"""Run a shipped graph over many pictures, at the precision it is served with."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from pipeline.errors import ProjectError

try:
    import openvino
except ImportError:  # no build for this platform
    openvino = None

OUTPUTS = ("logit", "probability", "map")
PRECISION = "float32"  # OpenVINO's own choice is bfloat16 where the CPU has it: 1.5e-4 away from Keras
BATCH = 32


Run = Callable[[np.ndarray], list[np.ndarray]]  # one batch of pixels to logits, probabilities, maps


class Answers(NamedTuple):
    """Of n pictures: logits float64 [n], recalibrated probabilities float64 [n], maps float32 [n, h, w]."""

    logits: np.ndarray
    probabilities: np.ndarray
    maps: np.ndarray


class Graph:
    """A graph that is ready: on OpenVINO in float32 where it has a build, else on ONNX Runtime.

    Raises:
        ProjectError: the file is missing, or no graph that the runtime can load.
    """

    def __init__(self, path: Path, runtime: str = "openvino" if openvino else "onnxruntime") -> None:
        if not path.is_file():
            raise ProjectError(f"{path} is missing")
        self.runtime = runtime
        try:
            self._run = self._openvino(path) if runtime == "openvino" else self._onnxruntime(path)
        except Exception as error:  # noqa: BLE001 - each runtime raises kinds of its own
            reason = " ".join(str(error).split())[:200]
            raise ProjectError(f"{path} is no graph that {runtime} can load: {reason}") from None

    def answer(self, pixels: np.ndarray, title: str = "pictures") -> Answers:
        """Ask the graph about pictures, uint8 [n, side, side]; `title` stands before the progress bar."""
        starts = tqdm(range(0, len(pixels), BATCH), desc=title, unit="batch", disable=len(pixels) < 10 * BATCH)
        parts = [self._run(np.ascontiguousarray(pixels[start : start + BATCH])[..., None]) for start in starts]
        logits, probabilities, maps = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Answers(logits.astype(np.float64), probabilities.astype(np.float64), maps)

    @staticmethod
    def _openvino(path: Path) -> Run:
        compiled = openvino.Core().compile_model(
            openvino.Core().read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        places = [compiled.output(name) for name in OUTPUTS]
        request = compiled.create_infer_request()

        def run(batch: np.ndarray) -> list[np.ndarray]:
            results = request.infer({"pixels": batch})
            return [np.array(results[place]) for place in places]

        return run

    @staticmethod
    def _onnxruntime(path: Path) -> Run:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda batch: session.run(OUTPUTS, {"pixels": batch})
