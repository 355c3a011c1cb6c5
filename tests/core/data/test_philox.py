"""Random numbers of many pictures at once: those that TensorFlow draws with each seed."""

import numpy as np

from bopkit.data.philox import uniform
from bopkit.data.pipeline import augmentation_seeds
from bopkit.keras2 import import_tensorflow


def test_numbers_are_the_words_that_tensorflow_draws_from_a_place_on():
    tf = import_tensorflow()
    seeds = tf.constant([[-5, 7], [2**62, 0], [-(2**63), -1]], tf.int64)
    found = uniform(seeds, 2, 6).numpy()
    np.testing.assert_array_equal(tf.function(lambda seeds: uniform(seeds, 2, 6))(seeds), found)
    for seed, row in zip(seeds, found, strict=True):
        words = tf.random.stateless_uniform([2 * 256 + 6], seed, None, None, tf.uint32).numpy()[2 * 256 :]
        np.testing.assert_array_equal(row, (words >> 8) / 2.0**24)


def test_numbers_are_even_and_independent():
    tf = import_tensorflow()
    seeds = augmentation_seeds(3, tf.constant(1, tf.int64), tf.range(4000, dtype=tf.int64))
    draws = uniform(seeds, 1, 5).numpy()
    assert np.abs(draws.mean(axis=0) - 0.5).max() < 0.02 and 0 <= draws.min() and draws.max() < 1
    assert np.abs(np.corrcoef(draws.T) - np.eye(5)).max() < 0.06
    assert np.abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.06  # of neighbours
    assert np.abs(np.corrcoef(draws[:, 0], uniform(seeds, 2, 1).numpy()[:, 0])[0, 1]) < 0.06
