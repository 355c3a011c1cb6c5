"""A start from a trained network, and frozen layers."""

import json

import numpy as np
import pytest

from bopkit import load_model, read_card, train_model
from bopkit.data import dataset_from_arrays
from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.registry import MODELS
from bopkit.training.network import build_plain_network
from bopkit.training.transfer import find_start, freeze, frozen_layers, layers_with_weights, start_from

pytestmark = pytest.mark.integration

GENERATOR = np.random.default_rng(0)
PICTURES = GENERATOR.integers(0, 256, (96, 32, 32, 1), np.uint8)
OF_THREE = dataset_from_arrays(PICTURES[:64], np.arange(64) % 3, PICTURES[64:], np.arange(32) % 3, name="three")
HEAD = ["dense1", "dense1_bn"]
SMALL = {"filters": 4, "epochs": 2, "batch_size": 32}


def train(output_dir, dataset="digits", hparams_set="bop_digits", **kwargs):
    hparams = {**SMALL, **kwargs.pop("hparams", {})}
    options = {"limit_steps": 3, "tensorboard": False, **kwargs}
    return train_model(
        "tiny.network", dataset, hparams_set=hparams_set, hparams=hparams, output_dir=output_dir, **options
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on digits with Bop, and one with latent weights."""
    folder = tmp_path_factory.mktemp("trained")
    for name, hparams_set in (("bop", "bop_digits"), ("latent", "latent_digits")):
        train(folder / name, hparams_set=hparams_set)
    return folder


def network_of(hparams_set="bop_digits", classes=3, **hparams):
    architecture = MODELS.load("tiny.network")
    chosen = architecture.hparams(hparams_set).model_copy(update={**SMALL, **hparams})
    return build_plain_network(architecture, chosen, (32, 32, 1), classes), chosen, architecture


def weights(model):
    return {layer.name: layer.get_weights() for layer in layers_with_weights(model)}


def changed_layers(one, other):
    """Names of layers whose weights are not the same, bit for bit."""
    return {
        name
        for (name, mine), theirs in zip(one.items(), other.values(), strict=True)
        if any(a.shape != b.shape or (a != b).any() for a, b in zip(mine, theirs, strict=True))
    }


@pytest.mark.parametrize("source", ["bop", "latent"])
@pytest.mark.parametrize("target", ["bop", "latent"])
def test_all_that_fits_is_taken_and_kernels_that_are_flipped_become_signs(trained, source, target):
    network, hparams, architecture = network_of(f"{target}_digits")
    head = weights(network)
    started = start_from(network, find_start(trained / source, architecture), hparams)
    found, theirs = weights(network), weights(load_model(trained / source / "model.h5"))
    names = list(found)
    assert names[-2:] == HEAD
    new = {name: found[name] for name in HEAD}
    assert not changed_layers({name: head[name] for name in HEAD}, new)
    assert started.layers == tuple(range(len(names) - 2))
    assert started.lines == (f"from {trained / source}: 4 layers taken; new: dense1 and dense1_bn.",)
    for name, other in zip(names[:-2], list(theirs)[:-2], strict=True):
        for mine, value in zip(found[name], theirs[other], strict=True):
            is_signed = (source, target) == ("latent", "bop") and set(np.unique(mine)) == {-1, 1}
            np.testing.assert_array_equal(mine, np.where(value >= 0, 1, -1) if is_signed else value)
    kernels = [layer.kernel.numpy() for layer in layers_with_weights(network) if hasattr(layer, "kernel_quantizer")]
    assert kernels and all(set(np.unique(kernel)) == {-1, 1} for kernel in kernels if target == "bop")


def small_network(kernel_quantizer, has_norm=True):
    """A binary convolution with latent weights, behind and in front of others."""
    tf = import_tensorflow()
    import larq as lq

    pictures = tf.keras.Input((8, 8, 3))
    x = tf.keras.layers.Conv2D(16, 3)(pictures)
    x = lq.layers.QuantConv2D(
        8, 3, input_quantizer="ste_sign", kernel_quantizer=kernel_quantizer, use_bias=False, name="scaled"
    )(x)
    x = tf.keras.layers.BatchNormalization()(x) if has_norm else tf.keras.layers.ReLU()(x)
    return tf.keras.Model(pictures, tf.keras.layers.Dense(4)(tf.keras.layers.Flatten()(x)))


@pytest.mark.parametrize("has_norm", [True, False])
def test_plain_signs_compute_what_signs_times_their_magnitude_did(has_norm, tmp_path):
    """As in a start of `birealnet` from `pull:birealnet`."""
    other = small_network("magnitude_aware_sign", has_norm)
    draw = np.random.default_rng(1)
    other.set_weights([draw.uniform(0.1, 1, each.shape) * draw.choice([1, -1]) for each in other.get_weights()])
    if has_norm:
        norm = other.layers[3]
        norm.set_weights([np.abs(each) for each in norm.get_weights()])
    other.save(tmp_path / "other.h5")
    network, (_, hparams, architecture) = small_network("ste_sign", has_norm), network_of()
    started = start_from(network, find_start(tmp_path / "other.h5", architecture), hparams)
    pictures = draw.normal(size=(16, 8, 8, 3)).astype(np.float32)
    same = np.allclose(network(pictures), other(pictures), rtol=1e-4, atol=1e-4)
    assert same is has_norm
    warned = "multiplies signs by their mean magnitude, and this network does not: scaled"
    assert any(warned in line for line in started.lines) is not has_norm


def test_layers_of_other_shapes_are_new_and_the_line_says_what_to_type(trained):
    network, hparams, architecture = network_of(filters=5)
    with pytest.raises(UsageError, match=r"No layer of .* fits the network. With --hparams filters=4 more fits."):
        start_from(network, find_start(trained / "bop", architecture), hparams)


def test_what_a_training_cannot_start_from(trained, tmp_path):
    for name, words in (
        (tmp_path / "none.h5", "none.h5 does not exist"),
        (tmp_path, "holds no model.h5. Give a run"),
        ("", "holds no model.h5. Give a run"),
    ):
        with pytest.raises(Exception, match=words) as raised:
            find_start(name, MODELS.load("tiny.network"))
        assert raised.value.hint
    with pytest.raises(UsageError, match=r"is a tiny.*, and binarynet is to be trained"):
        find_start(trained / "bop", MODELS.load("binarynet"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_frozen_layers_stay_and_others_learn_and_a_resume_is_exact(trained, tmp_path, precision):
    names = list(weights(load_model(trained / "bop" / "model.h5")))
    options = {"from_model": trained / "bop", "freeze": [f"{names[0]}*"], "precision": precision}
    said = []
    whole = train(tmp_path / "whole", OF_THREE, progress=said.append, **options)
    assert any(line.startswith(f"from {trained / 'bop'}: ") for line in said)
    before, after = (weights(load_model(run / "model.h5")) for run in (trained / "bop", tmp_path / "whole"))
    frozen = {name for name in names if name.startswith(names[0])}
    assert changed_layers(before, after) == set(names) - frozen
    assert read_card(whole.model_file).class_names == ("0", "1", "2")

    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", OF_THREE, on_epoch=stop, **options)
    with pytest.raises(UsageError, match="from"):
        train(tmp_path / "stopped", OF_THREE, **{**options, "from_model": trained / "latent"})
    with pytest.raises(UsageError, match="freeze"):
        train(tmp_path / "stopped", OF_THREE, **{**options, "freeze": None})
    said.clear()
    train(tmp_path / "stopped", OF_THREE, progress=said.append, **options)
    assert not any(line.startswith("from ") for line in said)
    assert not changed_layers(after, weights(load_model(tmp_path / "stopped" / "model.h5")))


def test_frozen_batch_norms_keep_their_statistics(trained, tmp_path):
    train(tmp_path / "run", OF_THREE, from_model=trained / "bop", freeze_batch_norm=True)
    before, after = (load_model(run / "model.h5") for run in (trained / "bop", tmp_path / "run"))
    changed = changed_layers(weights(before), weights(after))
    assert {"conv1", "conv2", *HEAD} == changed  # a new batch norm is trained
    with pytest.raises(UsageError, match=r"none is taken. Add --from MODEL"):
        train(tmp_path / "other", OF_THREE, freeze_batch_norm=True)
    assert not (tmp_path / "other").exists()  # a mistake leaves no run behind


def test_binary_layers_may_all_be_frozen(trained, tmp_path):
    model = load_model(trained / "bop" / "model.h5")
    binary = [layer.name for layer in layers_with_weights(model) if hasattr(layer, "kernel_quantizer")]
    said = []
    train(tmp_path / "run", OF_THREE, from_model=trained / "bop", freeze=binary, progress=said.append)
    assert any(line.startswith("Adam trains") for line in said)
    assert "Warning: frozen as they were drawn, and never trained: dense1" in said
    assert "frozen: conv1, conv2 and dense1" in said
    assert changed_layers(weights(model), weights(load_model(tmp_path / "run" / "model.h5"))) == {
        *("conv1_bn", "conv2_bn"),
        *HEAD,  # of other classes
    }
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["freeze"] == binary and len(config["from"]["sha256"]) == 64


def test_patterns_of_no_layer_and_of_all_layers_are_refused():
    network, _, _ = network_of()
    name = layers_with_weights(network)[0].name
    with pytest.raises(UsageError, match=f"No layer with weights is named '{name}x'. Did you mean '{name}'"):
        frozen_layers(network, [f"{name}x"], False, None)
    with pytest.raises(UsageError, match="nothing is left to train"):
        freeze(network, frozen_layers(network, ["*"], False, None).layers)
