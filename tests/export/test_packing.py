"""Bits of binary kernels, against definitions written out one weight at a time."""

from __future__ import annotations

import numpy as np
import pytest

from bopkit.counting import is_binary
from bopkit.export.packing import count_different_bits, flip_channels, lce_words, pack


def random_signs(*shape: int) -> np.ndarray:
    return np.where(np.random.default_rng(0).random(shape) < 0.5, -1.0, 1.0).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 31, 32, 40])
def test_lce_words_hold_the_sign_of_each_weight(channels: int) -> None:
    kernel = random_signs(2, 3, channels, 5)
    words = lce_words(kernel)
    assert words.shape == (5, 2, 3, -(-channels // 32))
    for (row, column, channel, output), weight in np.ndenumerate(kernel):
        assert bool(words[output, row, column, channel // 32] >> (channel % 32) & 1) == (weight < 0)
    assert count_different_bits(words, np.zeros_like(words)) == np.sum(kernel < 0)  # nothing in the padding


def test_a_dense_kernel_is_a_1x1_convolution() -> None:
    kernel = random_signs(70, 9)
    np.testing.assert_array_equal(lce_words(kernel), lce_words(kernel.reshape(1, 1, 70, 9)))


def test_flipped_channels_are_those_of_the_negated_kernel() -> None:
    kernel = random_signs(3, 3, 40, 6)
    flipped = np.array([True, False, True, True, False, False])
    np.testing.assert_array_equal(
        flip_channels(lce_words(kernel), flipped, 40), lce_words(np.where(flipped, -kernel, kernel))
    )


def test_pack_keeps_signs_and_scales() -> None:
    scale = np.array([0.5, 1.0, 0.3], np.float32)
    kernel = random_signs(3, 3, 5, 3) * scale
    packed = pack(kernel)
    signs = np.unpackbits(packed.bits, count=kernel.size).reshape(kernel.shape) * 2.0 - 1.0
    np.testing.assert_array_equal((signs * packed.scale).astype(np.float32), kernel)


def test_a_kernel_is_binary_only_with_one_scale_above_zero_a_channel() -> None:
    kernel = random_signs(3, 3, 4, 2) * np.array([0.5, 2.0], np.float32)
    assert is_binary(kernel)
    for wrong in (0.0, 0.5000001, np.nan):
        other = kernel.copy()
        other[1, 1, 1, 0] = wrong
        assert not is_binary(other)
    assert not is_binary(np.zeros_like(kernel))
