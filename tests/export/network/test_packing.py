"""Bits of binary kernels as a SavedModel holds them."""

from __future__ import annotations

import numpy as np

from bopkit.counting import is_binary
from bopkit.export.network.packing import pack


def random_signs(*shape: int) -> np.ndarray:
    return np.where(np.random.default_rng(0).random(shape) < 0.5, -1.0, 1.0).astype(np.float32)


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
