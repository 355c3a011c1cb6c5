"""The catalogue's constants, recomputed from the built networks, and the layers that the paper describes."""

import numpy as np
import pytest

from bopkit import list_models
from bopkit.architecture import floor_bytes
from bopkit.counting import count_network
from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.optim import binary_layers
from bopkit.registry import MODELS

PAPER_PARAMS = {  # parameters, binary ones
    "binarynet": (10_363_550, 10_352_000),
    "binary_alexnet": (61_869_664, 61_827_776),
    "xnornet": (62_406_432, 58_236_928),
    "birealnet": (11_699_112, 10_985_472),
}
PUBLISHED_MILLIONS = {  # parameters; binary and other multiply-accumulates of one picture; by Larq Zoo and papers
    "quicknet_small": (12.66, 1156, 16),
    "quicknet": (13.24, 1850, 30),
    "quicknet_large": (23.36, 3699, 30),
    "binary_resnet_e18": (11.70, 1676, 138),
    "binary_densenet28": (5.15, 3587, 203),
    "binary_densenet37": (8.73, 4507, 200),
    "binary_densenet37_dilated": (8.73, None, None),
    "binary_densenet45": (13.94, 6431, 244),
    "meliusnet22": (6.97, 4624, 136),
    "real_to_binary": (12.00, 1676, 138),
    "reactnet_a": (29.37, 4817, 12),
    "reactnet18": (11.71, 1676, 138),
    "vgg_small": (4.66, 604, 4),
    "resnet20": (0.27, 40, 0),
    "resnet18": (11.19, 547, 8),
}
COUNTED_MILLIONS = {  # likewise, as bopkit counts them; None where they stand above
    "binary_densenet37_dilated": (None, 7774, 453),
    "bopnet_64k": (0.29, 38, 1),
    "bopnet_256k": (1.15, 85, 4),
}
OURS = ("bopnet_64k", "bopnet_256k")
NAMES = [*PAPER_PARAMS, *PUBLISHED_MILLIONS, *OURS]
ONE_A_FAMILY = {
    *("binarynet", "quicknet_small", "binary_resnet_e18", "binary_densenet28", "meliusnet22", "real_to_binary"),
    *("reactnet18", "vgg_small", "resnet20", "bopnet_64k"),
}


def whole_network(name):
    """A case that builds a network of full size: one a family in `make test`, all in `make test-release`."""
    return pytest.param(name, marks=pytest.mark.integration if name in ONE_A_FAMILY else pytest.mark.release)


def test_the_catalogue_is_complete():
    assert MODELS.names() == NAMES


def in_millions(name):
    counts = MODELS.load(name).counts
    return counts.params / 1e6, counts.binary_macs / 1e6, (counts.mixed_macs + counts.float_macs) / 1e6


@pytest.mark.parametrize("name", PUBLISHED_MILLIONS)
def test_counts_are_those_that_are_published(name):
    """Up to one million multiply-accumulates: one publisher rounds to the nearest, another up."""
    params, *macs = PUBLISHED_MILLIONS[name]
    found_params, *found_macs = in_millions(name)
    assert round(found_params, 2) == params
    for found, published in zip(found_macs, macs, strict=True):
        assert published is None or found == pytest.approx(published, abs=1)


@pytest.mark.parametrize("name", COUNTED_MILLIONS)
def test_counts_that_nobody_published(name):
    for found, expected, digits in zip(in_millions(name), COUNTED_MILLIONS[name], (2, 0, 0), strict=True):
        assert expected is None or round(found, digits) == expected


@pytest.mark.parametrize("name", map(whole_network, NAMES))
def test_counts_of_the_built_network(name):
    import larq as lq

    architecture = MODELS.load(name)
    network = architecture.build_network(architecture.hparams(), architecture.input_shape, architecture.classes)
    counts = count_network(network)
    assert counts == architecture.counts
    if name in PAPER_PARAMS:
        assert (counts.params, counts.binary_params) == PAPER_PARAMS[name]
    summary = lq.models.ModelProfile(network)
    assert summary.op_count("mac", 1) == counts.binary_macs
    assert summary.op_count("mac") == counts.binary_macs + counts.mixed_macs + counts.float_macs
    assert list_models(name)[0]["floor_bytes"] == floor_bytes(counts.params, counts.binary_params)
    for layer in binary_layers(network):
        np.testing.assert_array_equal(np.abs(layer.kernel.numpy()), 1)


def shapes(network, kind):
    return [layer.output_shape[1:] for layer in network.layers if isinstance(layer, kind)]


def test_layers_of_binarynet():
    tf = import_tensorflow()
    architecture = MODELS.load("binarynet")
    network = architecture.build_network(architecture.hparams(), (32, 32, 3), 10)
    assert shapes(network, tf.keras.layers.Conv2D) == [
        (30, 30, 128), (30, 30, 128), (15, 15, 256), (15, 15, 256), (7, 7, 512), (7, 7, 512)
    ]  # fmt: skip
    assert shapes(network, tf.keras.layers.Dense) == [(1024,), (1024,), (10,)]
    first, *others = list(binary_layers(network))
    assert first.input_quantizer is None
    assert all(layer.input_quantizer is not None for layer in others)
    norms = [layer for layer in network.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    assert len(norms) == 9
    assert not any(layer.scale for layer in norms)


@pytest.mark.integration
def test_layers_of_birealnet():
    tf = import_tensorflow()
    architecture = MODELS.load("birealnet")
    network = architecture.build_network(architecture.hparams(), (224, 224, 3), 1000)
    binary = list(binary_layers(network))
    assert [layer.output_shape[1:] for layer in binary] == [
        (size, size, filters) for size, filters in ((56, 64), (28, 128), (14, 256), (7, 512)) for _ in range(4)
    ]
    assert [layer.strides[0] for layer in binary] == [1] * 4 + [2, 1, 1, 1] * 3
    assert len([layer for layer in network.layers if isinstance(layer, tf.keras.layers.Add)]) == 16
    assert {layer.momentum for layer in network.layers if hasattr(layer, "momentum")} == {0.8}


@pytest.mark.parametrize("name", map(whole_network, NAMES))
def test_the_smallest_picture(name):
    architecture = MODELS.load(name)
    size = architecture.min_size_px
    hparams = architecture.hparams()
    assert architecture.build_network(hparams, (size, size, 3), 7).output_shape == (None, 7)
    with pytest.raises(UsageError, match="at least"):
        architecture.build_network(hparams, (size - 1, size, 3), 7)


@pytest.mark.parametrize("name", NAMES)
def test_sets_and_published_results(name):
    architecture = MODELS.load(name)
    assert architecture.default_set == "bop"
    for optimizer in ("bop", "bop2nd", "cema", "bold", "latent"):
        assert architecture.hparams(optimizer).optimizer == optimizer
    assert bool(architecture.published) == (name not in OURS)
    for published in architecture.published:
        assert not published.hparams_set or published.hparams_set in architecture.sets


def test_settings_of_published_second_order_figures():
    """As in the code of arXiv 2104.05124: start and end of four linear schedules, batch, epochs."""
    names = ("threshold", "threshold_end", "gamma", "gamma_end", "sigma", "sigma_end")
    names += ("learning_rate", "learning_rate_end", "batch_size", "epochs")
    imagenet = (1e-8, 1e-5, 1e-4, 1e-9, 1e-5, 1e-2, 2.5e-3, 5e-6, 1024)
    expected = {
        "binarynet": (1e-5, 1e-8, 1e-2, 1e-5, 1e-7, 1e-2, 1e-2, 1e-3, 50, 500),
        "xnornet": (*imagenet, 100),
        "birealnet": (*imagenet, 150),
    }
    for name, values in expected.items():
        architecture = MODELS.load(name)
        hparams = architecture.hparams("bop2nd")
        assert tuple(getattr(hparams, each) for each in names) == values
        assert hparams.moments == "biased"
        assert any(published.hparams_set == "bop2nd" for published in architecture.published)


def test_rates_fall_by_the_schedule_of_the_network():
    for name in ("meliusnet22", "reactnet18"):
        sets = MODELS.load(name).sets
        schedule = sets["latent"].learning_rate_schedule
        assert sets["bop"].gamma_schedule == sets["bop2nd"].gamma_schedule == schedule
        assert sets["cema"].alpha_schedule == sets["bold"].eta_schedule == schedule


def test_digits_sets_differ_in_the_optimizer_alone():
    architecture = MODELS.load("binarynet")
    sets = [architecture.hparams(f"{optimizer}_digits") for optimizer in ("bop", "bop2nd", "cema", "bold", "latent")]
    shared = ("epochs", "batch_size", "learning_rate", "learning_rate_end", "filters", "dense_units")
    assert len({tuple(getattr(hparams, name) for name in shared) for hparams in sets}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_unknown_sets(name):
    architecture = MODELS.load(name)
    with pytest.raises(UsageError, match=f"bopkit hparams {name}"):
        architecture.hparams("nosuch")
