"""Batch-norm statistics anew: those of all pixels, of the weights as they are, and only where training moves them."""

import numpy as np
import pytest

from bopkit.batch_norm import BatchNormEstimator, has_trainable_norms
from bopkit.keras2 import import_tensorflow

RANDOM = np.random.RandomState(0)
BATCHES = [RANDOM.normal(3, 2, (size, 6, 5, 4)).astype(np.float32) for size in (7, 7, 2)]
PIXELS = np.concatenate(BATCHES).astype(np.float64)


def estimate(network, batches=BATCHES, finish=None):
    tf = import_tensorflow()
    BatchNormEstimator(network, tf.distribute.get_strategy(), finish).estimate(map(tf.constant, batches))


def of_pictures(*layers):
    return import_tensorflow().keras.Sequential([*layers], name="net")


def assert_statistics(norm, values, axes=(0, 1, 2)):
    np.testing.assert_allclose(norm.moving_mean, values.mean(axes), rtol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, values.var(axes), rtol=1e-5)


def norm(**options):
    return import_tensorflow().keras.layers.BatchNormalization(**options)


@pytest.mark.parametrize("axis", [-1, 1])
def test_all_pixels_of_all_batches_count_alike(axis):
    layer = norm(axis=axis, input_shape=(6, 5, 4))
    estimate(of_pictures(layer))
    assert_statistics(layer, PIXELS, (0, 1, 2) if axis == -1 else (0, 2, 3))


def test_a_synchronized_norm_of_old_files_is_one_too():
    layer = import_tensorflow().keras.layers.experimental.SyncBatchNormalization(input_shape=(6, 5, 4))
    network = of_pictures(layer)
    assert has_trainable_norms(network)
    estimate(network)
    assert_statistics(layer, PIXELS)


def test_several_axes_together():
    layer = norm(axis=[2, 3], input_shape=(6, 5, 4))
    estimate(of_pictures(layer))
    np.testing.assert_allclose(layer.moving_mean, PIXELS.mean((0, 1), keepdims=True), rtol=1e-5)


def test_what_finish_makes_is_what_the_network_sees():
    layer = norm(input_shape=(6, 5, 4))
    estimate(of_pictures(layer), finish=lambda pictures: pictures / 2 - 1)
    assert_statistics(layer, PIXELS / 2 - 1)


def test_a_layer_sees_its_input_normalised_by_the_batch_and_without_dropout():
    tf = import_tensorflow()
    first, last = norm(input_shape=(6, 5, 4), center=False), norm()
    network = of_pictures(first, tf.keras.layers.Dropout(0.9), tf.keras.layers.GlobalAveragePooling2D(), last)
    estimate(network, BATCHES[:1])
    pixels = BATCHES[0].astype(np.float64)
    normalised = (pixels - pixels.mean((0, 1, 2))) / np.sqrt(pixels.var((0, 1, 2)) + first.epsilon)
    np.testing.assert_allclose(last.moving_mean, 0, atol=1e-6)
    np.testing.assert_allclose(last.moving_variance, normalised.mean((1, 2)).var(0), rtol=1e-4)


def test_a_layer_that_is_called_twice_has_the_statistics_of_both_calls():
    tf = import_tensorflow()
    layer = norm()
    pictures = tf.keras.Input((6, 5, 4))
    estimate(tf.keras.Model(pictures, [layer(pictures), layer(3 * pictures)]))
    assert_statistics(layer, np.concatenate([PIXELS, 3 * PIXELS]))


def test_norms_that_training_leaves_alone_are_left_alone():
    tf = import_tensorflow()
    frozen, of_evaluation, trained = norm(trainable=False), norm(), norm()
    inner = tf.keras.Sequential([norm(input_shape=(6, 5, 4))])
    inner.trainable = False
    pictures = tf.keras.Input((6, 5, 4))
    network = tf.keras.Model(pictures, trained(inner(of_evaluation(frozen(pictures), training=False))))
    assert has_trainable_norms(network)
    estimate(network)
    for layer in (frozen, of_evaluation, inner.layers[0]):
        np.testing.assert_array_equal(layer.moving_mean, 0)
        np.testing.assert_array_equal(layer.moving_variance, 1)
    assert (trained.moving_mean.numpy() != 0).all()
    assert not has_trainable_norms(inner)


def test_large_means_cost_no_variance():
    layer = norm(input_shape=(6, 5, 4))
    estimate(of_pictures(layer), [batch / 100 + 1000 for batch in BATCHES])
    np.testing.assert_allclose(layer.moving_variance, (PIXELS / 100).var((0, 1, 2)), rtol=1e-2)


def test_in_bfloat16_the_sums_are_float32():
    tf = import_tensorflow()
    layer = norm(dtype="mixed_bfloat16", input_shape=(6, 5, 4))
    estimate(of_pictures(layer))
    seen = tf.cast(tf.cast(tf.constant(PIXELS, tf.float32), tf.bfloat16), tf.float32).numpy().astype(np.float64)
    assert_statistics(layer, seen)


def test_a_network_calls_its_layers_as_before_afterwards():
    layer = norm(input_shape=(6, 5, 4))
    network = of_pictures(layer)
    estimate(network)
    assert "call" not in vars(layer)
    expected = (BATCHES[0] - layer.moving_mean) / np.sqrt(layer.moving_variance + 1e-3)
    np.testing.assert_allclose(network(BATCHES[0], training=False), expected, rtol=1e-4, atol=1e-5)
