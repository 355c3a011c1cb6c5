"""Weights alone go into the network that has them, with the signs that they were trained with, or nowhere."""

import dataclasses
import hashlib

import larq as lq
import numpy as np
import pytest

from bopkit.artifacts.custom_code import NO_CUSTOM_CODE
from bopkit.errors import BopkitError
from bopkit.export import ExportOptions
from bopkit.export.sources import weights_alone
from bopkit.export.sources.source import load_source
from bopkit.keras2 import import_tensorflow
from bopkit.pretrained.releases import RELEASES
from bopkit.registry import MODELS

NAME, SHAPE = "resnet20", (8, 8, 3)
OPTIONS = ExportOptions(architecture=NAME, input_shape=SHAPE)


def built(hparams_set, quantizer=None):
    architecture = MODELS.load(NAME)
    network = architecture.build_network(architecture.hparams(hparams_set), SHAPE, 10)
    if quantizer:
        for layer in network.layers:
            if isinstance(layer, lq.layers.QuantConv2D):
                layer.kernel_quantizer = lq.quantizers.get(quantizer)
    return network


def answers(network):
    pictures = np.random.default_rng(0).uniform(-1, 1, (4, *SHAPE)).astype(np.float32)
    return network(import_tensorflow().constant(pictures)).numpy()


@pytest.mark.parametrize("hparams_set", ["latent", "bop"])
def test_the_optimizer_is_that_of_the_weights(hparams_set, tmp_path):
    network = built(hparams_set)
    network.save_weights(tmp_path / "weights.h5")
    loaded = load_source(tmp_path / "weights.h5", OPTIONS, NO_CUSTOM_CODE)
    np.testing.assert_array_equal(answers(loaded.model), answers(network))
    assert any("latent weights" in note for note in loaded.notes) == (hparams_set == "latent")


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ({"hparams_set": "bop"}, "Leave out --hparams-set, or type --hparams-set latent."),
        ({"hparams": {"optimizer": "bop"}}, "Leave out optimizer= from --hparams."),
        ({"hparams_set": "latent", "hparams": {"optimizer": "bop"}}, "Leave out optimizer= from --hparams."),
        (
            {"hparams_set": "cema", "hparams": {"optimizer": "bop"}},
            "Leave out optimizer= from --hparams, and --hparams-set.",
        ),
    ],
)
def test_an_optimizer_that_leaves_no_such_weights_is_refused(asked, hint, tmp_path):
    built("latent").save_weights(tmp_path / "weights.h5")
    with pytest.raises(BopkitError, match="holds latent weights") as error:
        load_source(tmp_path / "weights.h5", dataclasses.replace(OPTIONS, **asked), NO_CUSTOM_CODE)
    assert error.value.hint == hint


def test_magnitudes_that_the_named_network_lacks_are_told(tmp_path):
    built("latent", "magnitude_aware_sign").save(tmp_path / "whole.h5")
    with pytest.raises(BopkitError, match="saved with the quantizer MagnitudeAwareSign.*leave out --architecture"):
        load_source(tmp_path / "whole.h5", OPTIONS, NO_CUSTOM_CODE)


def test_released_weights_that_need_them_are_known_by_their_checksum(tmp_path, monkeypatch):
    path = tmp_path / "weights.h5"
    built("latent").save_weights(path)
    release = dataclasses.replace(RELEASES["birealnet"], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(weights_alone, "RELEASES", {"birealnet": release})
    with pytest.raises(BopkitError, match="pull:birealnet in its place"):
        load_source(path, OPTIONS, NO_CUSTOM_CODE)
