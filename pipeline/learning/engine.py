"""How the backend is driven on this machine: `python -m pipeline.learning.engine` prints what is on, and why."""

import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import keras

CPU_FLAGS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Engine:
    """What the training step is compiled with.

    Attributes:
        backend: tensorflow or jax.
        device: cpu or gpu.
        jit_compile: XLA for the step. JAX knows no other way; on a CPU TensorFlow is faster without.
        steps_per_execution: steps between two returns to Python. A GPU waits for Python, a CPU does not.
        fused_normalization: batch normalization as one kernel. XLA fuses Keras' own passes by itself.
        native_bfloat16: the device multiplies bfloat16 several times faster than float32.
    """

    backend: str
    device: str
    jit_compile: bool
    steps_per_execution: int
    fused_normalization: bool
    native_bfloat16: bool

    def precision(self, setting: str) -> str:
        """What `train.common.precision` comes to here: float32 or bfloat16."""
        if setting == "auto":
            return "bfloat16" if self.native_bfloat16 else "float32"
        return setting


def choose_engine() -> Engine:
    """The engine for the current Keras backend and the devices it sees."""
    backend = keras.backend.backend()
    on_gpu = any("gpu" in name or "cuda" in name for name in map(str.lower, keras.distribution.list_devices()))
    plain = backend == "tensorflow" and not on_gpu
    return Engine(
        backend=backend,
        device="gpu" if on_gpu else "cpu",
        jit_compile=backend == "jax" or on_gpu,
        steps_per_execution=16 if on_gpu else 1,
        fused_normalization=plain,
        native_bfloat16=_gpu_multiplies_bfloat16() if on_gpu else plain and _cpu_multiplies_bfloat16(),
    )


def _cpu_multiplies_bfloat16() -> bool:
    return CPU_FLAGS.exists() and "amx_bf16" in CPU_FLAGS.read_text()


def _gpu_multiplies_bfloat16() -> bool:
    """Whether every GPU here has compute capability 8.0 or more; older ones only emulate bfloat16."""
    if not (tool := shutil.which("nvidia-smi")):
        return False
    command = [tool, "--query-gpu=compute_cap", "--format=csv,noheader"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    try:
        return bool(listed) and min(map(float, listed)) >= 8.0
    except ValueError:
        return False


REASONS = {
    "backend": "KERAS_BACKEND; tensorflow is the default",
    "device": "the first kind of accelerator that the backend lists, else the CPU",
    "jit_compile": "on with JAX and on a GPU; off with TensorFlow on a CPU, where XLA is slower",
    "steps_per_execution": "more than 1 on a GPU alone: a CPU step takes far longer than the way back to Python",
    "fused_normalization": "with TensorFlow on a CPU: one kernel instead of a dozen passes; XLA fuses them by itself",
    "native_bfloat16": "a GPU of compute capability 8.0 or more, or TensorFlow on a CPU with AMX; `precision: auto` follows it",
}


def main() -> None:
    """Print each choice and its reason."""
    for name, value in asdict(choose_engine()).items():
        print(f"{name:20} {value!s:12} {REASONS[name]}")
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS", "all cores")
    print(f"{'threads':20} {threads:12} TF_NUM_INTRAOP_THREADS; `make study JOBS=n` sets it to cores/n")
    print(f"{'pixels':20} {'on device':12} the whole array is a table on the device; a batch is a list of row numbers")
    print(f"{'augmentation':20} {'on device':12} layers of the training graph; nothing is done in Python per image")
    print(
        f"{'precision':20} {'setting':12} train.common.precision: auto, float32, or bfloat16 compute with float32 weights"
    )
    print(f"{'keras':20} {version('keras'):12}")


if __name__ == "__main__":
    main()
