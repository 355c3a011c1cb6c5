"""Every network of the catalogue: build, train, save, load, export, compare."""

import json

import bopkit_runtime
import numpy as np
import pytest
from catalogue_exports import LARGEST_BYTES, assert_packed, assert_small_and_packed
from command_line import forked, succeeded

from bopkit import ExportOptions, benchmark_artifacts, export_model, list_models
from bopkit.binary_kernels import set_binary_kernels_to_signs
from bopkit.keras2 import import_tensorflow
from bopkit.models import birealnet
from bopkit.registry import MODELS

pytestmark = pytest.mark.integration

HEADLINE = "birealnet"
"""Checked in test_headline_commands, where it is exported anyway."""


FAMILIES = {
    "quicknet_small": "64,64,1",
    "binary_resnet_e18": "64,64,1",
    "binary_densenet28": "32,32,1",
    "meliusnet22": "32,32,1",
    "real_to_binary": "32,32,1",
    "reactnet_a": "32,32,1",
    "vgg_small": "16,16,1",
    "resnet20": "16,16,1",
    "bopnet_64k": "16,16,1",
}
"""Networks of the zoo, each with layers that the others do not have, and a small picture."""

SLOW = ("meliusnet22", "reactnet_a", "binary_densenet28")
"""Families of many layers, a minute each: for `make test-release`."""

OPTIMIZERS = ("bop", "latent", "bop2nd", "cema", "bold")


def test_every_network_has_a_limit():
    assert {model["name"] for model in list_models()} == set(LARGEST_BYTES)


@pytest.mark.release
@pytest.mark.parametrize("name", sorted(set(LARGEST_BYTES) - {HEADLINE}))
def test_an_untrained_network_exports_bit_packed(name, tmp_path):
    """In processes that end: TensorFlow keeps the memory of a large network, gigabytes, for itself."""

    def run(*arguments):
        return succeeded(forked(*arguments))

    run("init", name, "-o", tmp_path / f"{name}.h5")
    report = json.loads(run("export", tmp_path / f"{name}.h5", "--pictures", 4, "--json"))
    assert_small_and_packed(name, report)

    flatbuffer, _ = report["artifacts"]
    (row,) = benchmark_artifacts([flatbuffer["path"]], runs=2, warmup_runs=1, min_duration_s=0.0).rows
    assert row.error is None and row.runtime == "LiteRT" and row.settings["claimed_operators"] > 0
    assert row.floor_bytes == flatbuffer["floor_bytes"]
    # The native runtime runs all of it.
    assert len(bopkit_runtime.Interpreter(flatbuffer["path"]).describe()["partitions"]) == 1


def trained_a_step(name, hparams_set, shape, run):
    """A run of one step on eight digits."""
    settings = "epochs=1,batch_size=8,learning_rate_warmup_epochs=none"
    options = ("--limit-steps", 1, "--batch-norm-pictures", 0, "--no-tensorboard", "--output-dir", run)
    arguments = ("--dataset", "digits", "--input-shape", shape, "--hparams-set", hparams_set, "--hparams", settings)
    succeeded(forked("train", name, *arguments, *options))
    return run / "model.h5"


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.release if each in SLOW else ()) for each in FAMILIES]
)
def test_a_small_network_of_each_family_trains_exports_and_runs(name, tmp_path):
    """With the optimizers in turn."""
    hparams_set = OPTIMIZERS[list(FAMILIES).index(name) % len(OPTIMIZERS)]
    model_file = trained_a_step(name, hparams_set, FAMILIES[name], tmp_path / name)
    # After one step near-ties are as frequent as before it.
    exported = forked("export", model_file, "--tflite", "--pictures", 2, "--max-drop", 100, "--json")
    (flatbuffer,) = json.loads(succeeded(exported))["artifacts"]
    assert_packed(flatbuffer)
    run = bopkit_runtime.Interpreter(flatbuffer["path"])
    picture = np.random.default_rng(0).uniform(-1, 1, run.inputs[0].shape).astype(np.float32)
    scores = run.predict(picture)
    assert scores.shape == (1, 10) and abs(scores.sum() - 1) < 1e-5


@pytest.mark.release
@pytest.mark.parametrize("name", sorted(set(LARGEST_BYTES) - set(FAMILIES)))
def test_every_network_trains_on_small_pictures(name, tmp_path):
    side = max(64, MODELS.load(name).min_size_px)
    for hparams_set in ("bop", "latent"):
        assert trained_a_step(name, hparams_set, f"{side},{side},1", tmp_path / hparams_set).is_file()


def test_blocks_of_bi_real_net_export_bit_packed(tmp_path):
    """Two of its sixteen, one of which halves the picture: `make test-release` exports the whole."""
    tf = import_tensorflow()
    tf.keras.utils.set_random_seed(0)  # untrained networks have near-ties: with these weights there is none
    hparams = birealnet.ARCHITECTURE.hparams()
    inputs = tf.keras.Input((16, 16, 3))
    x = tf.keras.layers.BatchNormalization()(tf.keras.layers.Conv2D(64, 3)(inputs))
    for filters in (64, 128):
        x = birealnet._block(x, filters, hparams, f"block{filters}")
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(10, activation="softmax")(x))
    set_binary_kernels_to_signs(model)
    model.save(tmp_path / "blocks.h5")
    report = export_model(tmp_path / "blocks.h5", options=ExportOptions(pictures=4))
    for exported in report.artifacts:
        packed = {layer.name for layer in exported.layers if layer.packed}
        assert packed == {"block64_conv", "block128_conv"}
        assert [each.top1 for each in exported.agreements] == [1.0, 1.0]
