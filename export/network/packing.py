"""Bits of binary kernels as a SavedModel holds them: a set bit stands for a positive weight. NumPy only."""

from __future__ import annotations

import dataclasses

import numpy as np

LCE_WORD_BITS = 32


@dataclasses.dataclass(frozen=True)
class PackedBits:
    """A kernel whose weights are +-scale, one scale an output channel.

    Attributes:
        bits: uint8 [ceil(size / 8)], eight signs a byte, the first one in the highest bit; 1 means positive.
        scale: float32 [output channels], above zero.
        shape: Shape of the kernel; the output channels come last.
    """

    bits: np.ndarray
    scale: np.ndarray
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of the bits, and of the scales where they are not all 1."""
        return self.bits.nbytes + (0 if self.unscaled else self.scale.nbytes)

    @property
    def unscaled(self) -> bool:
        """Whether the weights are +-1."""
        return bool(np.all(self.scale == 1.0))


def pack(kernel: np.ndarray) -> PackedBits:
    """Pack a float32 kernel for which `bopkit.counting.is_binary` holds."""
    scale = np.abs(kernel.reshape(-1, kernel.shape[-1])[0]).astype(np.float32)
    return PackedBits(np.packbits(kernel > 0), scale, kernel.shape)
