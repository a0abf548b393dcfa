"""How the backend is driven on this machine: `python -m pipeline.learning.engine` prints what is on, and why."""

import os
from dataclasses import asdict, dataclass
from importlib.metadata import version

import keras


@dataclass(frozen=True)
class Engine:
    """What the training step is compiled with.

    Attributes:
        backend: tensorflow or jax.
        device: cpu or gpu.
        jit_compile: XLA for the step. JAX knows no other way; on a CPU TensorFlow is faster without.
        steps_per_execution: steps between two returns to Python. A GPU waits for Python, a CPU does not.
    """

    backend: str
    device: str
    jit_compile: bool
    steps_per_execution: int


def choose_engine() -> Engine:
    """The engine for the current Keras backend and the devices it sees."""
    backend = keras.backend.backend()
    on_gpu = any("gpu" in name or "cuda" in name for name in map(str.lower, keras.distribution.list_devices()))
    return Engine(
        backend=backend,
        device="gpu" if on_gpu else "cpu",
        jit_compile=backend == "jax" or on_gpu,
        steps_per_execution=16 if on_gpu else 1,
    )


def use_precision(precision: str) -> None:
    """Compute in float32, or in bfloat16 with float32 weights and outputs."""
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")


REASONS = {
    "backend": "KERAS_BACKEND; tensorflow is the default",
    "device": "the first kind of accelerator that the backend lists, else the CPU",
    "jit_compile": "on with JAX and on a GPU; off with TensorFlow on a CPU, where XLA is slower",
    "steps_per_execution": "more than 1 on a GPU alone: a CPU step takes far longer than the way back to Python",
}


def main() -> None:
    """Print each choice and its reason."""
    engine = asdict(choose_engine())
    for name, value in engine.items():
        print(f"{name:20} {value!s:12} {REASONS[name]}")
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS", "all cores")
    print(f"{'threads':20} {threads:12} TF_NUM_INTRAOP_THREADS; `make study JOBS=n` sets it to cores/n")
    print(f"{'pixels':20} {'on device':12} the whole array is a table on the device; a batch is a list of row numbers")
    print(f"{'augmentation':20} {'on device':12} layers of the training graph; nothing is done in Python per picture")
    print(f"{'precision':20} {'setting':12} train.common.precision: float32, or bfloat16 compute with float32 weights")
    print(f"{'keras':20} {version('keras'):12}")


if __name__ == "__main__":
    main()
