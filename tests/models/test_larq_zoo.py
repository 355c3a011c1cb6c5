"""The networks of Larq Zoo are Larq Zoo's: order, shapes and answers, as its own code made them.

The golden values are in larq_zoo/, with the script that wrote them.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from golden_weights import golden_pictures, golden_weight

from bopkit.keras2 import import_tensorflow
from bopkit.registry import MODELS

GOLDEN = Path(__file__).with_name("larq_zoo")
NETWORKS = json.loads((GOLDEN / "networks.json").read_text())
ONE_A_FAMILY = ("quicknet_small", "binary_resnet_e18", "binary_densenet28", "meliusnet22", "real_to_binary")
TOLERANCE = 1e-6
"""Of the logits' standard deviation. One weight of another sign changes them by more."""


def marks(name):
    return pytest.mark.integration if name in ONE_A_FAMILY else pytest.mark.release


@pytest.fixture
def in_float64():
    """As the golden values were made: float32 would flip signs of sums near zero, others on each processor."""
    keras = import_tensorflow().keras
    before = keras.mixed_precision.global_policy()
    keras.backend.set_floatx("float64")
    keras.mixed_precision.set_global_policy("float64")
    yield
    keras.backend.set_floatx("float32")
    keras.mixed_precision.set_global_policy(before)


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in NETWORKS])
def test_order_shapes_and_logits(name, in_float64):
    tf = import_tensorflow()
    golden, expected = NETWORKS[name], np.load(GOLDEN / "logits.npz")[name]
    architecture = MODELS.load(name)
    network = architecture.build_network(architecture.hparams("latent"), (224, 224, 3), 1000)
    weights = [[each.name.partition(":")[0].rpartition("/")[2], each.shape.as_list()] for each in network.weights]
    assert weights == golden["weights"]
    assert network.count_params() == golden["params"] == architecture.counts.params
    assert sum(int(np.prod(each.shape)) for each in network.trainable_weights) == golden["trained"]
    network.set_weights([golden_weight(index, *each) for index, each in enumerate(weights)])
    logits = tf.keras.Model(network.input, network.layers[-1].input)(golden_pictures())
    np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE * expected.std())
