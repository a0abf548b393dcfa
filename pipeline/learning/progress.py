"""Progress of a training, and a watch over its weights. In no stage's dependencies: neither can change a weight."""

import logging
import time

import keras
import numpy as np

from pipeline.errors import ProjectError

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


class Progress(keras.callbacks.Callback):
    """One log line at the end of each epoch, and one every half minute within."""

    def __init__(self, epoch: int, epochs: int, epochs_done: int, started: float):
        super().__init__()
        self.epoch, self.epochs, self.epochs_done, self.started = epoch, epochs, epochs_done, started
        self.last_line = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self._line((batch + 1) / self.params["steps"], logs or {})

    def on_epoch_end(self, epoch, logs=None):
        self._line(1.0, logs or {})

    def _line(self, share: float, logs: dict[str, float]) -> None:
        self.last_line = time.monotonic()
        done = self.epoch - 1 + share
        here = done - self.epochs_done  # epochs of an earlier process took no time in this one
        left = (time.monotonic() - self.started) / here * (self.epochs - done) if here else 0.0
        figures = " ".join(f"{name} {float(value):.4f}" for name, value in logs.items())
        log.info("epoch %.2f of %d, %s left: %s", done, self.epochs, f"{left / 60:.1f} min", figures)


class StopOnNonFiniteWeights(keras.callbacks.Callback):
    """Ends the run after an epoch that left a weight that is no number: a ReLU hides it from the loss."""

    def __init__(self, epoch: int):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        for weight in self.model.weights:
            if "float" in weight.dtype and not np.isfinite(np.asarray(weight)).all():
                raise ProjectError(
                    f"{weight.path} is not finite after epoch {self.epoch}, though the loss is; likely the precision is too "
                    "low (set precision: float32 for this network) or the learning rate too high"
                )


class ProgressOfRun:
    """Makes the callbacks of each epoch of one run."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.epochs_done: int | None = None

    def __call__(self, epoch: int, epochs: int) -> list[keras.callbacks.Callback]:
        """The callbacks of `epoch` (from 1)."""
        if self.epochs_done is None:
            self.epochs_done = epoch - 1
        return [StopOnNonFiniteWeights(epoch), Progress(epoch, epochs, self.epochs_done, self.started)]
