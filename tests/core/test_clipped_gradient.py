"""Gradients of larq's quantizers are masked by a faster operation of TensorFlow, for the same bits."""

import numpy as np
import pytest

from bopkit.keras2 import import_tensorflow


@pytest.mark.parametrize("quantizer", ["ste_sign", "ste_tern", "ste_heaviside"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_of_quantizers_are_masked_as_larq_does(quantizer, dtype):
    tf = import_tensorflow()
    import larq

    values = [0.0, -0.0, 1.0, -1.0, 1.0078125, -1.0078125, 1e30, np.inf, -np.inf, np.nan]
    x = tf.cast(np.repeat(values, len(values)), dtype)
    dy = tf.cast(np.tile(values, len(values)), dtype)

    @tf.function(autograph=False)
    def gradient():
        return tf.gradients(getattr(larq.quantizers, quantizer)(x), x, dy)[0]

    operations = {each.type for each in gradient.get_concrete_function().graph.get_operations()}
    assert "Select" in operations
    assert "SelectV2" not in operations
    expected = tf.where(tf.abs(x) <= 1.0, dy, tf.zeros_like(dy))
    bits = {"float32": tf.int32, "bfloat16": tf.int16}[dtype]
    np.testing.assert_array_equal(tf.bitcast(gradient(), bits), tf.bitcast(expected, bits))


def test_without_a_bound_gradients_pass():
    tf = import_tensorflow()
    import larq

    x = tf.constant([-3.0, 0.5, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = larq.quantizers.SteSign(clip_value=None)(x)
    np.testing.assert_array_equal(tape.gradient(y, x), [1, 1, 1])
