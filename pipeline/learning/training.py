"""Train one network, epoch by epoch, so that a killed run goes on where it stopped and ends with the same network.

Everything random in an epoch (order, augmentation, dropout) is drawn from the run's seed and the epoch's number, and the
learning rate follows from the history: weights, optimizer state and history are all that a checkpoint holds.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import keras
import numpy as np
from keras import ops

from pipeline.errors import ProjectError
from pipeline.files import atomic_file
from pipeline.learning.augmentation.layers import WholeGreyValues, build_augmentation
from pipeline.learning.engine import choose_engine
from pipeline.learning.networks.head import build
from pipeline.learning.settings import Run, Training

log = logging.getLogger(__name__)


class Epoch(TypedDict):
    """One row of the history; `step` counts from the start of the run."""

    epoch: int
    step: int
    learning_rate: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


HISTORY_COLUMNS = list(Epoch.__annotations__)


@dataclass(frozen=True)
class Images:
    """What a run learns from.

    Attributes:
        pixels: uint8 [images, side, side]; may be memory-mapped.
        labels: int [images], 1 for pneumonia.
        training_rows: int [n], rows of `pixels`, with repeats.
        validation_rows: int [m].
    """

    pixels: np.ndarray
    labels: np.ndarray
    training_rows: np.ndarray
    validation_rows: np.ndarray


@dataclass(frozen=True)
class Trained:
    """A trained network, in float32, its history, the epoch (from 1) whose weights it holds, and what it learned in."""

    network: keras.Model
    history: list[Epoch]
    kept_epoch: int
    precision: str


class PixelTable(keras.layers.Layer):
    """All images on the device; a batch is a list of row numbers."""

    def __init__(self, pixels: np.ndarray, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.table = self.add_weight(
            shape=(*pixels.shape, 1), dtype="uint8", initializer="zeros", trainable=False, name="table"
        )
        self.table.assign(pixels[..., None])

    def call(self, rows):
        """int32 [n] to float32 [n, side, side, 1] in 0 to 255."""
        return ops.cast(ops.take(self.table, rows, axis=0), "float32")


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Ends the run at the first batch whose loss is not a number."""

    def __init__(self, epoch: int):
        super().__init__()
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))
        if not np.isfinite(loss):
            raise ProjectError(
                f"the loss is {loss} at epoch {self.epoch}, batch {batch + 1}; likely the learning rate is too high "
                "(lower learning_rate or finetune_learning_rate of this run) or the precision too low (use float32)"
            )


def train(
    run: Run,
    images: Images,
    checkpoint: Path,
    callbacks: Callable[[int, int], list[keras.callbacks.Callback]] = lambda epoch, epochs: [],
) -> Trained:
    """Train `run` to its last epoch, resuming from `checkpoint` when that file is there.

    Args:
        run: what to train and how.
        images: what it learns from and is validated on.
        checkpoint: a file for the state after each epoch. It must belong to these settings, data and code: the caller
            names it after their digest.
        callbacks: from (epoch from 1, epochs) to further Keras callbacks of that epoch, for progress.

    Raises:
        ProjectError: the network cannot be built, or the loss is not finite.
    """
    training = run.training
    precision = choose_engine().precision(training.precision)
    keras.utils.set_random_seed(run.seed)
    network = build(run.network, images.pixels.shape[1], training.scaling, run.weights)
    learner = _learner(network, run, precision)
    trainer = _trainer(learner, run, images.pixels)
    seeds = [variable for variable in trainer.variables if variable.name == "seed_generator_state"]
    state = learner.weights + trainer.optimizer.variables
    history, best = _restore(checkpoint, state)

    labels = images.labels.astype("float32")[:, None]
    validation = (images.validation_rows.astype("int32"), labels[images.validation_rows])
    for epoch in range(len(history) + 1, training.epochs + 1):
        rate = learning_rate(run.starting_rate, [row["val_accuracy"] for row in history], training)
        trainer.optimizer.learning_rate = rate
        rows = _draw_epoch(run.seed, epoch, images.training_rows, seeds)
        logs = trainer.fit(
            rows,
            labels[rows],
            batch_size=training.batch_size,
            shuffle=False,
            validation_data=validation,
            validation_batch_size=training.batch_size,
            callbacks=[StopOnNonFiniteLoss(epoch), *callbacks(epoch, training.epochs)],
            verbose=0,
        ).history
        figures = {name: float(logs[name][0]) for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        steps = -(-len(rows) // training.batch_size)
        if training.keep == "best" and figures["val_loss"] < min((row["val_loss"] for row in history), default=np.inf):
            best = [np.asarray(variable) for variable in learner.weights]
        history.append(Epoch(epoch=epoch, step=epoch * steps, learning_rate=rate, **figures))  # type: ignore[typeddict-item]
        _save(checkpoint, state, history, best)
    network.set_weights(best or learner.get_weights())
    kept = min(history, key=lambda row: row["val_loss"]) if training.keep == "best" else history[-1]
    return Trained(network, history, kept["epoch"], precision)


def learning_rate(start: float, val_accuracies: list[float], training: Training) -> float:
    """The rate of the next epoch: ReduceLROnPlateau (Keras: mode max, min_delta 1e-4, no cooldown) replayed on the history."""
    rate, best, wait = start, -np.inf, 0
    for value in val_accuracies:
        if value > best + 1e-4:
            best, wait = value, 0
            continue
        wait += 1
        if wait >= training.plateau_patience and rate > training.min_learning_rate:
            rate, wait = max(rate * training.plateau_factor, training.min_learning_rate), 0
    return rate


def _learner(network: keras.Model, run: Run, precision: str) -> keras.Model:
    """The same network with the same weights, at the precision and with the kernels that learn fastest here."""
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        learner = build(run.network, network.input.shape[1], run.training.scaling)
        if choose_engine().fused_normalization:
            learner = keras.models.clone_model(learner, clone_function=_fused)
    finally:
        keras.config.set_dtype_policy("float32")
    learner.set_weights(network.get_weights())
    return learner


def _fused(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy of a layer; batch normalization comes back as the one kernel."""
    from pipeline.learning.fused_normalization import FusedBatchNormalization  # TensorFlow alone

    kind = FusedBatchNormalization if type(layer) is keras.layers.BatchNormalization else type(layer)
    return kind.from_config(layer.get_config())


def _trainer(network: keras.Model, run: Run, pixels: np.ndarray) -> keras.Model:
    """Row numbers to logits, with the augmentation between, compiled and with its optimizer built."""
    engine = choose_engine()
    rows = keras.Input((), dtype="int32", name="rows")
    x = PixelTable(pixels, name="pixel_table")(rows)
    for layer in build_augmentation(run.augmentation, run.training.augmenter, engine.jit_compile):
        x = layer(x)
    logits = keras.Model(network.input, network.get_layer("logit").output, name="logits")
    trainer = keras.Model(rows, logits(WholeGreyValues(dtype="float32", name="whole_grey_values")(x)), name="trainer")
    trainer.compile(
        optimizer=keras.optimizers.Adam(run.starting_rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.MeanMetricWrapper(_right_side_of_zero, name="accuracy")],
        jit_compile=engine.jit_compile,
        steps_per_execution=engine.steps_per_execution,
    )
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def _right_side_of_zero(labels, logits):
    """Accuracy of logits at probability 0.5: float [n, 1] each, to float [n, 1]."""
    return ops.cast(ops.equal(labels > 0.5, logits > 0.0), "float32")


def _draw_epoch(seed: int, epoch: int, training_rows: np.ndarray, seed_states: list[Any]) -> np.ndarray:
    """Shuffle the rows and set every seed generator, from the seed and the epoch alone."""
    generator = np.random.default_rng([seed, epoch])
    rows = generator.permutation(training_rows).astype("int32")
    for state in seed_states:
        state.assign(np.array([generator.integers(2**32), 0], dtype="uint32"))
    return rows


def _save(checkpoint: Path, state: list[Any], history: list[Epoch], best: list[np.ndarray]) -> None:
    arrays = {f"state{place}": np.asarray(variable) for place, variable in enumerate(state)}
    arrays |= {f"best{place}": value for place, value in enumerate(best)}
    with atomic_file(checkpoint) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, history=np.array(json.dumps(history)), **arrays)


def _restore(checkpoint: Path, state: list[Any]) -> tuple[list[Epoch], list[np.ndarray]]:
    """Load the state variables from a checkpoint; the history so far and the best weights are returned."""
    if not checkpoint.exists():
        return [], []
    with np.load(checkpoint, allow_pickle=False) as saved:
        for place, variable in enumerate(state):
            variable.assign(saved[f"state{place}"])
        history = json.loads(str(saved["history"]))
        best = [saved[f"best{place}"] for place in range(sum(name.startswith("best") for name in saved.files))]
    log.info("going on after epoch %d of %s", len(history), checkpoint.parent.name)
    return history, best
