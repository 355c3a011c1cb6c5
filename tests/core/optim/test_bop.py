"""Bop against NumPy, written from the paper, and against larq's, bit for bit."""

import numpy as np
import pytest

from bopkit.keras2 import import_tensorflow
from bopkit.optim import Bop

GAMMA, THRESHOLD = np.float32(0.25), np.float32(0.125)


def numpy_bop(weights, averages, gradients):
    """Algorithm 1 of arXiv 1906.02107 in float32: m <- (1 - gamma) m + gamma g; flip where |m| exceeds tau and m
    has the sign of w. At exactly tau a weight of -1 flips and one of +1 does not, as the paper's code does."""
    averages = averages + GAMMA * (gradients - averages)
    product = weights * averages
    flips = (product > THRESHOLD) | ((product == THRESHOLD) & (weights < 0))
    return np.where(flips, -weights, weights), averages


def run(optimizer, weights, steps):
    """Kernel and moving average after some steps."""
    tf = import_tensorflow()
    kernel = tf.Variable(weights)
    for gradients in steps:
        optimizer.apply_gradients([(tf.constant(gradients), kernel)])
    return kernel.numpy(), optimizer.get_slot(kernel, "m").numpy()


@pytest.fixture
def weights_and_steps():
    rng = np.random.default_rng(0)
    weights = np.where(rng.random(1000) < 0.5, -1, 1).astype(np.float32)
    return weights, rng.normal(size=(20, 1000)).astype(np.float32)


@pytest.mark.parametrize("weight", [-1.0, 1.0])
@pytest.mark.parametrize("gradient", [-0.5, 0.5, np.nextafter(0.5, 1), np.nextafter(0.5, 0), 0.0, 1.0, -1.0, 1e-8])
def test_one_step_with_boundaries(weight, gradient):
    weights, gradients = np.float32([weight]), np.float32([gradient])
    expected, average = numpy_bop(weights, np.float32([0]), gradients)
    actual, slot = run(Bop(float(THRESHOLD), float(GAMMA)), weights, [gradients])
    assert actual == expected
    assert slot == average


def test_at_exactly_the_threshold_only_minus_one_flips():
    kernel, _ = run(Bop(float(THRESHOLD), float(GAMMA)), np.float32([-1, 1]), [np.float32([-0.5, 0.5])])
    np.testing.assert_array_equal(kernel, [1, 1])


def test_twenty_steps_bit_for_bit(weights_and_steps):
    weights, steps = weights_and_steps
    expected, averages = weights, np.zeros(1000, np.float32)
    flips = 0
    for gradients in steps:
        before = expected
        expected, averages = numpy_bop(expected, averages, gradients)
        flips += np.count_nonzero(before != expected)
    kernel, slot = run(Bop(float(THRESHOLD), float(GAMMA)), weights, steps)
    assert flips > 1000  # otherwise this test would show nothing
    np.testing.assert_array_equal(kernel, expected)
    np.testing.assert_array_equal(slot, averages)


@pytest.mark.parametrize("threshold", [0.0, 1e-8, 0.125])
@pytest.mark.parametrize("at_zero", ["keep", "original"])
def test_the_bits_of_larq_but_for_a_zero_at_threshold_zero(weights_and_steps, threshold, at_zero):
    from larq.optimizers import Bop as LarqBop

    weights, steps = weights_and_steps
    steps[:, ::3] = 0  # weights without a gradient
    kernel, slot = run(Bop(threshold, float(GAMMA), at_zero), weights, steps)
    larq_kernel, larq_slot = run(LarqBop(threshold, float(GAMMA)), weights, steps)
    np.testing.assert_array_equal(slot, larq_slot)
    differ = np.flatnonzero(kernel != larq_kernel)
    if threshold == 0 and at_zero == "keep":
        np.testing.assert_array_equal(kernel[::3], weights[::3])
        np.testing.assert_array_equal(differ, [index for index in range(0, 1000, 3) if weights[index] < 0])
    else:
        assert not differ.size
