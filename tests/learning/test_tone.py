"""The recipe `tone`: each law of its curves and bars, that they are drawn in training alone, and on every backend."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from pipeline.learning.augmentation import robust, tone
from pipeline.learning.augmentation.layers import build_augmentation
from pipeline.learning.training import train
from tests.learning.test_training import Killed, a_run, killed_after, training_images

ROOT = Path(__file__).resolve().parents[2]
SIDE = 64
LEVEL = tone.WHITE / tone.STEPS


def images(count=24, side=SIDE, seed=0):
    """Smooth images whose grey values differ in range and shape, a third with a black frame: float32 [n, side, side, 1]."""
    draw = np.random.default_rng(seed)
    down, across = np.mgrid[:side, :side] / side
    made = np.empty((count, side, side), "float32")
    for place in range(count):
        low, high = draw.uniform(5, 90), draw.uniform(160, 250)
        wave = np.sin(draw.uniform(2, 9) * across + draw.uniform(0, 6)) + np.cos(draw.uniform(2, 9) * down)
        shares = (wave - wave.min()) / np.ptp(wave)
        made[place] = low + (high - low) * shares ** draw.uniform(0.4, 2.5)
        if place % 3 == 0:
            made[place, :6] = made[place, :, -8:] = 0
    return made[..., None]


def call(function, *arguments):
    return ops.convert_to_numpy(function(*(ops.convert_to_tensor(value) for value in arguments)))


def toned(before, seed=3):
    return ops.convert_to_numpy(tone.tone_curve(ops.convert_to_tensor(before), keras.random.SeedGenerator(seed)))


def quantiles(image):
    return np.quantile(image[image > 0], np.linspace(0.05, 0.95, 19))


def test_the_recipe_is_robust_and_then_two_layers():
    assert tone.RANGES == robust.RANGES
    kinds = [type(layer) for layer in build_augmentation("robust")]
    layers = build_augmentation("tone")
    assert [type(layer) for layer in layers[:-2]] == kinds
    assert [layer.name for layer in layers[-2:]] == ["tone_curve", "collimate"]


def test_a_tone_curve_keeps_the_order_of_an_images_grey_values():
    before = images(60)
    changed = 0
    for old, new in zip(before, toned(before), strict=True):
        order = np.argsort(old, axis=None)
        assert (np.diff(new.ravel()[order]) >= -1e-3).all()
        assert new.min() >= 0
        assert new.max() <= 255 + 1e-3
        changed += not np.allclose(old, new, atol=0.5)
    assert 30 < changed < 57  # .8 of the images are drawn, some of them for a small share


def test_equalisation_makes_every_grey_value_as_frequent():
    before = images()
    after = call(tone.apply_curve, before, call(lambda x: tone.equalised(tone.cumulative_shares(x)), before))
    for image in after:
        assert np.abs(quantiles(image) - 255 * np.linspace(0.05, 0.95, 19)).max() < 3 * LEVEL


def test_matching_gives_the_quantiles_of_the_other_image():
    before = images()
    shares = call(tone.cumulative_shares, before)
    after = call(tone.apply_curve, before, call(tone.matched, shares, np.roll(shares, 1, axis=0)))
    for image, other, original in zip(after, np.roll(before, 1, axis=0), before, strict=True):
        assert np.abs(quantiles(image) - quantiles(other)).max() < 3 * LEVEL
        assert (image[original == 0] == 0).all(), "what is black, outside the radiograph, stays black"


def test_matching_an_image_with_itself_changes_nothing():
    before = images()
    shares = call(tone.cumulative_shares, before)
    after = call(tone.apply_curve, before, call(tone.matched, shares, shares))
    assert np.abs(after - before).max() < LEVEL


@pytest.mark.parametrize("value", [0, 90, 255])
def test_an_image_of_one_grey_value_is_no_problem(value):
    before = np.full((40, SIDE, SIDE, 1), value, "float32")
    after = toned(before)
    assert np.isfinite(after).all()
    assert np.ptp(after, axis=(1, 2, 3)).max() < 1e-3


def test_a_veil_takes_away_its_share_of_the_contrast_and_lightens():
    before = images()
    strength = np.full((len(before), 1), 0.4, "float32")
    for grey in (0.0, 1.0):
        after = call(tone.veil, before, strength, np.full_like(strength, grey))
        spread = after.std(axis=(1, 2, 3)) / before.std(axis=(1, 2, 3))
        assert spread == pytest.approx(np.full(len(before), 0.6), rel=1e-3)
        means = before.mean(axis=(1, 2, 3))
        assert after.mean(axis=(1, 2, 3)) == pytest.approx(means + 0.4 * grey * (255 - means), rel=1e-3)


def test_bars_are_black_and_no_wider_than_said():
    flat = np.full((600, 40, 100, 1), 90, "float32")
    barred = ops.convert_to_numpy(tone.collimate(ops.convert_to_tensor(flat), keras.random.SeedGenerator(1)))[..., 0]
    assert set(np.unique(barred)) == {0, 90}
    inside = barred == 90
    assert inside[:, 6:-6, 15:-15].all()
    rows, columns = inside[:, :, 50], inside[:, 20, :]
    assert np.array_equal(inside, rows[:, :, None] & columns[:, None, :]), "what is left is a rectangle"
    for side, length in ((rows, 40), (rows[:, ::-1], 40), (columns, 100), (columns[:, ::-1], 100)):
        width = side.argmax(axis=1) / length
        assert 0.12 < width.max() <= tone.BAR + 0.5 / length
        assert (width > 0).mean() == pytest.approx(tone.BARRED, abs=0.1)


def test_nothing_is_drawn_outside_training():
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1)), *tone.further_layers()])
    assert np.array_equal(model.predict(images(), verbose=0), images())


def test_the_same_seed_draws_the_same_and_each_layer_has_one():
    for layer in tone.further_layers():
        (state,) = (variable for variable in layer.variables if variable.name == "seed_generator_state")
        drawn = []
        for seed in (1, 1, 2):
            state.assign(np.array([seed, 0], "uint32"))
            drawn.append(ops.convert_to_numpy(layer(images(), training=True)))
        assert drawn[0].dtype == np.float32
        assert np.array_equal(drawn[0], drawn[1])
        assert not np.array_equal(drawn[0], drawn[2])


def test_a_killed_run_ends_with_the_same_network(tmp_path):
    run = a_run(epochs=2).model_copy(update={"augmentation": "tone"})
    undisturbed = train(run, training_images(), tmp_path / "one.npz")
    with pytest.raises(Killed):
        train(run, training_images(), tmp_path / "two.npz", killed_after(1, "batch"))
    resumed = train(run, training_images(), tmp_path / "two.npz")
    assert resumed.history == undisturbed.history
    for mine, theirs in zip(resumed.network.get_weights(), undisturbed.network.get_weights(), strict=True):
        assert np.array_equal(mine, theirs)


SCRIPT = """
import json
import keras
import numpy as np
from keras import ops
from pipeline.learning.augmentation import tone
from pipeline.learning.augmentation.layers import build_augmentation
from tests.learning.test_tone import call, images, SIDE
before = images()
shares = call(tone.cumulative_shares, before)
after = call(tone.apply_curve, before, call(tone.matched, shares, np.roll(shares, 1, axis=0)))
inputs = keras.Input((SIDE, SIDE, 1))
x = inputs
for layer in build_augmentation("tone", compiled=True):
    x = layer(x)
model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x / 255.0)))
model.compile(optimizer="adam", loss="mse", jit_compile=True)
loss = model.fit(before, np.zeros(len(before)), batch_size=8, epochs=2, verbose=0).history["loss"]
print("found", json.dumps({"jit": bool(model.jit_compile), "losses": loss, "after": after[:, ::8, ::8, 0].tolist()}))
"""


def test_xla_compiles_it_and_jax_computes_the_same(tmp_path):
    outputs = {}
    for backend in ("tensorflow", "jax"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=ROOT, env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": "."},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        line = next(line for line in done.stdout.splitlines() if line.startswith("found"))
        outputs[backend] = json.loads(line.removeprefix("found"))
        assert outputs[backend]["jit"], "a layer kept Keras from compiling the model with XLA"
        assert np.isfinite(outputs[backend]["losses"]).all()
    assert np.allclose(outputs["tensorflow"]["after"], outputs["jax"]["after"], atol=0.01)
