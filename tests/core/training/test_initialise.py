import numpy as np
import pytest

from bopkit import init_model, load_model, read_card
from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration

SMALL = {"filters": 8, "dense_units": 32}


def test_kernels_statistics_and_card(tmp_path):
    tf = import_tensorflow()
    path = init_model("binarynet", tmp_path / "m.h5", input_shape=(16, 16, 1), classes=7, hparams=SMALL, seed=1)
    network, card = load_model(path), read_card(path)
    assert (card.architecture, card.input_shape, card.trained) == ("binarynet", (16, 16, 1), False)
    assert network.output_shape == (None, 7)
    images = np.random.default_rng(2).normal(size=(64, 16, 16, 1)).astype(np.float32)
    norms = [layer for layer in network.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    taps = tf.keras.Model(network.input, [layer.output for layer in norms])
    for layer, output in zip(norms, taps(images), strict=True):
        assert layer.momentum == 0.99
        # Statistics of 16 pictures, seen on 64 others: near zero mean and unit spread, far from an uncalibrated one's.
        assert abs(float(np.mean(output))) < 0.5
        assert 0.5 < float(np.std(output)) < 2


def test_seeds(tmp_path):
    def weights(seed, name):
        return load_model(init_model("binarynet", tmp_path / name, hparams=SMALL, seed=seed)).get_weights()

    first, again, other = weights(0, "a.h5"), weights(0, "b.h5"), weights(1, "c.h5")
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_usage_errors(tmp_path):
    with pytest.raises(UsageError, match=r"model\.h5"):
        init_model("binarynet", tmp_path / "model.tflite")
    with pytest.raises(UsageError, match="at least 57 x 57"):
        init_model("alexnet", tmp_path / "m.h5", input_shape=(32, 32, 3))
    with pytest.raises(UsageError, match="at least 1"):
        init_model("binarynet", tmp_path / "m.h5", input_shape=(32, 32, 0))
    assert not list(tmp_path.iterdir())
