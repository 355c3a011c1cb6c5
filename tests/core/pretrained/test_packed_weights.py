"""Weights as bits and floats come back bit for bit, or not at all."""

import math

import numpy as np
import pytest

from bopkit.pretrained.packed_weights import pack, unpack


def signs(*shape):
    return np.random.default_rng(0).choice([-1.0, 1.0], shape).astype(np.float32)


WEIGHTS = [
    ("conv/kernel:0", signs(3, 3, 1, 7)),  # 63 bits: its last byte is not full
    ("conv_bn/beta:0", np.array([-0.0, 1e-45, 3.4e38, np.inf, np.pi, 0.1, 2.0], np.float32)),
    ("dense/kernel:0", signs(5, 5)),
    ("dense_bn/gamma:0", np.ones(5, np.float32)),
    ("float/kernel:0", signs(5, 4) * np.float32(0.5)),
    ("float/one:0", np.full((1, 1), np.nextafter(np.float32(1), np.float32(2)))),
]


def test_weights_come_back_bit_for_bit():
    listed, bits, floats = pack(WEIGHTS)
    back = unpack(listed, bits, floats)
    for (name, values), weight, found in zip(WEIGHTS, listed, back, strict=True):
        assert (weight.name, weight.shape) == (name, values.shape)
        assert found.dtype == np.float32 and found.shape == values.shape
        assert found.tobytes() == values.tobytes(), name


def test_kernels_take_a_bit_a_weight_and_all_else_32():
    listed, bits, floats = pack(WEIGHTS)
    assert [weight.name for weight in listed if weight.binary] == ["conv/kernel:0", "dense/kernel:0"]
    assert len(bits) == 8 + 4
    assert len(floats) == 4 * sum(math.prod(weight.shape) for weight in listed if not weight.binary)


def test_too_few_and_too_many_are_told():
    listed, bits, floats = pack(WEIGHTS)
    with pytest.raises(ValueError, match="nothing left for float/one:0"):
        unpack(listed, bits, floats[:-1])
    with pytest.raises(ValueError, match="nothing left for dense/kernel:0"):
        unpack(listed, bits[:-1], floats)
    with pytest.raises(ValueError, match="1 bytes of bits and 4 of floats are left over"):
        unpack(listed, bits + b"a", floats + b"abcd")


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="a is float64"):
        pack([("a", np.zeros(3))])
