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
TOLERANCE = 1e-4
"""Of the logits' standard deviation. One weight of another sign changes them by more."""

ROUNDING = 1e-7
ATTEMPTS = 8


def marks(name):
    return pytest.mark.integration if name in ONE_A_FAMILY else pytest.mark.release


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in NETWORKS])
def test_order_shapes_and_logits(name):
    tf = import_tensorflow()
    golden, logits = NETWORKS[name], np.load(GOLDEN / "logits.npz")[name]
    architecture = MODELS.load(name)
    network = architecture.build_network(architecture.hparams("latent"), (224, 224, 3), 1000)
    weights = [[each.name.partition(":")[0].rpartition("/")[2], each.shape.as_list()] for each in network.weights]
    assert weights == golden["weights"]
    assert network.count_params() == golden["params"] == architecture.counts.params
    assert sum(int(np.prod(each.shape)) for each in network.trainable_weights) == golden["trained"]
    network.set_weights([golden_weight(index, *each) for index, each in enumerate(weights)])
    answer = tf.function(tf.keras.Model(network.input, network.layers[-1].input))
    for picture, expected in zip(golden_pictures(), logits, strict=True):
        differences = [np.abs(answer(each[None])[0] - expected).max() for each in as_rounded_otherwise(picture)]
        assert min(differences) <= TOLERANCE * logits.std()


def as_rounded_otherwise(picture):
    """The picture itself, then with noise as small as rounding.

    In hundred thousand sums there is one so near to zero that the order of its addition decides its sign, and with it
    the logits' third digit: so on another processor, and so with this noise.
    """
    yield picture
    for seed in range(ATTEMPTS):
        yield picture + np.random.RandomState(seed).uniform(-ROUNDING, ROUNDING, picture.shape).astype(np.float32)
