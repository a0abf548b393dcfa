import dataclasses
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline import settings
from pipeline.errors import ProjectError
from pipeline.learning import engine
from pipeline.learning.engine import choose_engine
from pipeline.learning.predict import logit_predictor
from pipeline.learning.progress import SECONDS_BETWEEN_LINES, Progress, ProgressOfRun
from pipeline.learning.training import Images, learning_rate, train

SIDE = 96
ROOT = Path(__file__).resolve().parents[2]


def training_images(count=72, seed=0):
    """Pneumonia has a bright patch: a small network learns that in a few steps."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pixels = draw.integers(0, 120, (count, SIDE, SIDE), dtype=np.uint8)
    pixels[labels == 1, 30:60, 30:60] += 90
    return Images(pixels, labels, np.arange(24, count), np.arange(24))


def a_run(name="custom_cnn-robust-0", **training):
    run = settings.load().table[name]
    chosen = {"batch_size": 16, "precision": "float32", **training}
    return run.model_copy(update={"training": run.training.model_copy(update=chosen)})


def held_out_loss(network):
    """Log loss of a network on the validation images, in nats."""
    held_out = training_images()
    logits = logit_predictor(network)(held_out.pixels[held_out.validation_rows])
    labels = held_out.labels[held_out.validation_rows]
    return np.mean(np.logaddexp(0, -logits) * labels + np.logaddexp(0, logits) * (1 - labels))


class Killed(Exception):
    """Stands for the end of the process."""


def killed_after(epochs, where):
    """Callbacks that end the run at the `where` of the epoch after `epochs`."""

    class Kill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if where == "batch" and batch == 1:
                raise Killed

        def on_epoch_end(self, epoch, logs=None):
            if where == "end":
                raise Killed

    return lambda epoch, _: [Kill()] if epoch == epochs + 1 else []


@pytest.mark.parametrize(
    ("keep", "where", "precision"),
    [("last", "batch", "bfloat16"), ("last", "end", "float32"), ("best", "end", "float32")],
)
def test_a_killed_run_ends_with_the_same_network(tmp_path, keep, where, precision):
    run = a_run(epochs=3, keep=keep, precision=precision)
    undisturbed = train(run, training_images(), tmp_path / "one.npz")
    with pytest.raises(Killed):
        train(run, training_images(), tmp_path / "two.npz", killed_after(1, where))
    resumed = train(run, training_images(), tmp_path / "two.npz")
    assert resumed.history == undisturbed.history
    assert resumed.kept_epoch == undisturbed.kept_epoch
    for mine, theirs in zip(resumed.network.get_weights(), undisturbed.network.get_weights(), strict=True):
        assert np.array_equal(mine, theirs)


def test_a_network_learns_and_the_history_says_so(tmp_path):
    trained = train(a_run("custom_cnn-augmented-0", epochs=3), training_images(), tmp_path / "one.npz")
    assert [row["epoch"] for row in trained.history] == [1, 2, 3]
    assert [row["step"] for row in trained.history] == [3, 6, 9]
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    logits = logit_predictor(trained.network)(training_images(40, seed=1).pixels)
    assert logits.shape == (40,)
    probability = trained.network.predict(training_images(40, seed=1).pixels[..., None], verbose=0)[:, 0]
    assert np.allclose(1 / (1 + np.exp(-logits)), probability, atol=1e-6)


def test_the_best_epoch_is_kept(tmp_path):
    trained = train(a_run(epochs=4, keep="best"), training_images(), tmp_path / "one.npz")
    losses = [row["val_loss"] for row in trained.history]
    assert trained.kept_epoch == int(np.argmin(losses)) + 1
    assert held_out_loss(trained.network) == pytest.approx(min(losses), rel=1e-4)


def test_what_is_learned_in_bfloat16_is_kept_in_float32(tmp_path):
    trained = train(a_run(epochs=4, precision="bfloat16"), training_images(), tmp_path / "one.npz")
    assert trained.precision == "bfloat16"
    assert {layer.compute_dtype for layer in trained.network.layers} == {"float32"}
    assert {weight.dtype for weight in trained.network.weights} == {"float32"}
    assert held_out_loss(trained.network) == pytest.approx(trained.history[-1]["val_loss"], abs=0.05)


@pytest.mark.parametrize(
    ("setting", "native", "precision"),
    [
        ("auto", True, "bfloat16"),
        ("auto", False, "float32"),
        ("float32", True, "float32"),
        ("bfloat16", False, "bfloat16"),
    ],
)
def test_auto_precision_follows_the_device(setting, native, precision):
    chosen = dataclasses.replace(choose_engine(), native_bfloat16=native)
    assert chosen.precision(setting) == precision


def test_on_a_cpu_xla_is_off_and_a_command_says_what_is_on_and_why(capsys):
    with_tensorflow = choose_engine()
    assert (with_tensorflow.backend, with_tensorflow.jit_compile, with_tensorflow.steps_per_execution) == (
        "tensorflow",
        False,
        1,
    )
    engine.main()
    said = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(said) >= {"backend", "jit_compile", "steps_per_execution", "precision", "pixels", "augmentation"}
    assert "False" in said["jit_compile"] and "XLA is slower" in said["jit_compile"]


def test_time_left_counts_what_this_process_did(caplog):
    """Two of four epochs came from an earlier process; half of the third took 10 seconds here: 30 are left."""
    resumed = Progress(epoch=3, epochs=4, epochs_done=2, started=time.monotonic() - 10)
    resumed.set_params({"steps": 8})
    with caplog.at_level(logging.INFO):
        resumed.on_train_batch_end(3, {"loss": 0.5})
        assert caplog.messages == [], "one line in half a minute"
        resumed.last_line -= SECONDS_BETWEEN_LINES
        resumed.on_train_batch_end(3, {"loss": 0.5})
        assert caplog.messages == ["epoch 2.50 of 4, 0.5 min left: loss 0.5000"]
        resumed.started = time.monotonic() - 20
        resumed.on_epoch_end(3, {"loss": 0.25})
        assert caplog.messages[-1] == "epoch 3.00 of 4, 0.3 min left: loss 0.2500"


@pytest.mark.parametrize("shape", [(8, 6, 5, 16), (1, 2, 2, 3)])
def test_the_fused_normalization_is_that_of_keras(shape):
    import tensorflow as tf

    from pipeline.learning.fused_normalization import FusedBatchNormalization

    batch = tf.constant(np.random.default_rng(0).normal(2.0, 3.0, shape), "float32")
    weights = tf.constant(np.random.default_rng(1).normal(size=shape), "float32")
    results = []
    for kind in (keras.layers.BatchNormalization, FusedBatchNormalization):
        layer = kind(momentum=0.9)
        layer.build(shape)
        with tf.GradientTape() as tape:
            tape.watch(batch)
            outputs = layer(batch, training=True)
            loss = tf.reduce_sum(outputs * weights)
        gradients = tape.gradient(loss, [batch, layer.gamma.value, layer.beta.value])
        results.append([outputs, layer(batch), layer.moving_mean.value, layer.moving_variance.value, *gradients])
    for theirs, ours in zip(*results, strict=True):
        assert np.allclose(theirs, ours, rtol=1e-4, atol=1e-4)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(ProjectError, match=r"the loss is (nan|inf) at epoch 1, batch \d+; likely the learning rate"):
        train(a_run(epochs=1, learning_rate=1e30), training_images(), tmp_path / "one.npz")
    assert not (tmp_path / "one.npz").exists()


def test_a_weight_that_is_not_finite_stops_the_run(tmp_path):
    class Poison(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kernel = self.model.get_layer("logits").get_layer("block1_conv").kernel
            kernel.assign(np.full(kernel.shape, np.nan))

    of_run = ProgressOfRun()
    with pytest.raises(
        ProjectError, match=r"block1_conv/kernel is not finite after epoch 1, though the loss is; likely"
    ):
        train(a_run(epochs=1), training_images(), tmp_path / "one.npz", lambda *of: [Poison(), *of_run(*of)])
    assert not (tmp_path / "one.npz").exists()


@pytest.mark.parametrize(
    "accuracies", [[0.5, 0.6, 0.6, 0.6, 0.6, 0.61, 0.6], [0.9] * 12, [0.1, 0.2, 0.3], [0.7, 0.70005, 0.7001, 0.6, 0.5]]
)
def test_the_learning_rate_falls_as_keras_lets_it_fall(accuracies):
    training = a_run().training.model_copy(update={"min_learning_rate": 1e-5})
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")
    peer = keras.callbacks.ReduceLROnPlateau(
        monitor="val_accuracy",
        factor=training.plateau_factor,
        patience=training.plateau_patience,
        min_lr=training.min_learning_rate,
        mode="max",
    )
    peer.set_model(model)
    peer.on_train_begin()
    for epoch, accuracy in enumerate(accuracies):
        assert learning_rate(1e-3, accuracies[:epoch], training) == pytest.approx(float(model.optimizer.learning_rate))
        peer.on_epoch_end(epoch, {"val_accuracy": accuracy})


SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, "tests/learning")
from test_training import a_run, training_images
from pipeline.learning.predict import logit_predictor
from pipeline.learning.training import train
folder = Path(sys.argv[1])
trained = train(a_run("custom_cnn-balanced-0", epochs=4, batch_size=4), training_images(), folder / "state.npz")
predict, unseen = logit_predictor(trained.network), training_images(60, seed=2).pixels
trained.network.save_weights(folder / "own.weights.h5")
results = {"losses": [row["loss"] for row in trained.history], "own": predict(unseen).tolist()}
for other in folder.parent.glob("*/own.weights.h5"):
    trained.network.load_weights(other)
    results[other.parent.name] = predict(unseen).tolist()
print("results", json.dumps(results))
"""


def test_jax_reaches_the_same_metrics(tmp_path):
    """The same code on the other backend: the same order and seeds, so the losses differ by rounding and dropout alone.

    And the same weights answer the same on both.
    """
    results = {}
    for backend in ("tensorflow", "jax"):
        (tmp_path / backend).mkdir()
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / backend)],
            cwd=ROOT, env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": "."},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        line = next(line for line in done.stdout.splitlines() if line.startswith("results"))
        results[backend] = json.loads(line.removeprefix("results"))
    losses = np.array([results[backend]["losses"] for backend in ("tensorflow", "jax")])
    assert losses[0, 0] > 0.1 > losses[0, 1:].min(), "the task is learned"
    assert np.abs(losses[0] - losses[1]).mean() < 0.05, losses
    here, there = results["tensorflow"]["own"], results["jax"]["tensorflow"]
    assert np.std(here) > 0.01, "the network tells images apart"
    assert np.allclose(here, there, rtol=1e-3, atol=1e-3), np.abs(np.subtract(here, there)).max()
