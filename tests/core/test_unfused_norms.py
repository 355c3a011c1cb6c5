"""A batch norm over rows answers in a graph as it does layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import load_model, save_model
from bopkit.export.network.layers import inspect_layers
from bopkit.export.network.rewrites import rewrite
from bopkit.export.spec import SAVED_MODEL
from bopkit.keras2 import import_tensorflow
from bopkit.training.network import training_copy
from bopkit.unfused_norms import unfuse_norms_of_rows

PICTURES = np.random.default_rng(0).uniform(-1, 1, (4, 6, 6, 3)).astype(np.float32)


@pytest.fixture(name="network")
def fixture_network() -> Any:
    """A convolution and a batch norm of each row, with statistics as training leaves them."""
    keras = import_tensorflow().keras
    pictures = keras.Input(PICTURES.shape[1:])
    norm = keras.layers.BatchNormalization(axis=1)
    network = keras.Model(pictures, norm(keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(pictures)))
    generator = np.random.default_rng(1)
    norm.set_weights([generator.uniform(0.5, 1.5, each.shape) for each in norm.get_weights()])
    return network


def expected(network: Any) -> np.ndarray:
    """The answers, computed with NumPy from those of the convolution."""
    convolution, norm = network.layers[1:]
    gamma, beta, mean, variance = (each.reshape(1, -1, 1, 1) for each in norm.get_weights())
    sums = convolution(PICTURES).numpy()
    answers: np.ndarray = (sums - mean) / np.sqrt(variance + norm.epsilon) * gamma + beta
    return answers


def test_in_a_loaded_file_and_in_what_is_made_of_it(network: Any, tmp_path: Path) -> None:
    tf = import_tensorflow()
    save_model(network, ModelCard("", (6, 6, 3), (-1.0, 1.0), ""), tmp_path / "m.h5")
    loaded = load_model(tmp_path / "m.h5")
    of_the_export = rewrite(loaded, inspect_layers(loaded), SAVED_MODEL, lambda name, kernel: lambda: kernel)
    for each in (loaded, of_the_export):
        in_a_graph = tf.function(lambda pictures, each=each: each(pictures, training=False))
        np.testing.assert_allclose(in_a_graph(PICTURES), expected(network), atol=1e-5)


def test_in_what_is_trained(network: Any) -> None:
    copy = training_copy(unfuse_norms_of_rows(network), "bfloat16", sync_batch_norm=False)
    assert copy.layers[2].fused is False
    np.testing.assert_allclose(network.predict(PICTURES, verbose=0), expected(network), atol=1e-5)
