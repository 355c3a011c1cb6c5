"""Bits of binary kernels, as the two formats lay them out. NumPy only.

A set bit stands for a negative weight in a flatbuffer (LCE's convention), and for a positive one in a
SavedModel.
"""

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


def lce_words(kernel: np.ndarray) -> np.ndarray:
    """Signs of a kernel as LCE packs them.

    Args:
        kernel: float [height, width, input channels, outputs], or [inputs, outputs] of a dense layer.

    Returns:
        uint32 [outputs, height, width, ceil(input channels / 32)]: the lowest bit is the first channel, 1
        means negative, and the bits above the last channel are 0.
    """
    if kernel.ndim == 2:
        kernel = kernel[np.newaxis, np.newaxis]
    negative = np.transpose(kernel < 0, (3, 0, 1, 2))
    padding = -negative.shape[3] % LCE_WORD_BITS
    negative = np.pad(negative, ((0, 0), (0, 0), (0, 0), (0, padding)))
    return np.ascontiguousarray(np.packbits(negative, axis=-1, bitorder="little")).view("<u4")


def flip_channels(words: np.ndarray, channels: np.ndarray, input_channels: int) -> np.ndarray:
    """Negate whole output channels of a kernel made by `lce_words`.

    Args:
        words: uint32 [outputs, height, width, words].
        channels: bool [outputs]: the ones to negate.
        input_channels: Channels in use; the bits above them stay 0.
    """
    ones = lce_words(np.full((1, 1, input_channels, 1), -1.0))
    return np.where(channels[:, np.newaxis, np.newaxis, np.newaxis], words ^ ones, words)


def count_different_bits(words: np.ndarray, others: np.ndarray) -> int:
    """Number of bits in which two arrays of one shape, both uint32, differ."""
    return int(np.unpackbits((words ^ others).view(np.uint8)).sum())
