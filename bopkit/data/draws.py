"""Random numbers for a whole batch of pictures at once, each picture's by its own seed.

TensorFlow's stateless operations take one seed a call. These take one a picture, so that a picture's numbers depend on
its seed alone, whatever other pictures are in the batch. The generator is SplitMix64 (Steele, Lea and Flood, OOPSLA
2014): a counter that goes through a mixing function of 64 bits.
"""

from __future__ import annotations

from typing import Any

from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions

_STEP = 0x9E3779B97F4A7C15

FRACTION_BITS = 24
"""Bits of a number: all of them fit into float32, so that none is rounded to 1."""


def uniform(seeds: Tensor, stream: int, count: int) -> Tensor:
    """Numbers from 0 to below 1, evenly distributed.

    Args:
        seeds: int64 [n, 2], one a picture, as `augmentation_seed` makes them.
        stream: Tells what they are for: another one gives other numbers of the same seed.
        count: Numbers a picture.

    Returns:
        float32 [n, count].
    """
    import numpy as np

    tf = import_tensorflow()
    first, second = tf.unstack(tf.bitcast(seeds, tf.uint64), axis=1)
    state = _mixed(_mixed(_mixed(first) ^ second) + _constant(stream))
    # As an array: in a graph, a list of numbers below and above 2^63 goes through float64, which rounds them.
    counter = tf.constant(np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_STEP))
    bits = _mixed(state[:, None] + counter)
    return tf.cast(_shifted(bits, 64 - FRACTION_BITS), tf.float32) * 2.0**-FRACTION_BITS


def _mixed(bits: Tensor) -> Tensor:
    """SplitMix64's mixing function: uint64 to uint64, one to one."""
    bits = (bits ^ _shifted(bits, 30)) * _constant(0xBF58476D1CE4E5B9)
    bits = (bits ^ _shifted(bits, 27)) * _constant(0x94D049BB133111EB)
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    tf = import_tensorflow()
    return tf.bitwise.right_shift(bits, _constant(places))


def _constant(value: int) -> Tensor:
    tf = import_tensorflow()
    return tf.constant(value, tf.uint64)
