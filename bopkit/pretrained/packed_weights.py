"""Weights as packed bits and floats: one bit for each weight of a binary kernel, float32 for all others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bopkit.pretrained.facts import Weight

_FLOAT = np.dtype("<f4")


def is_binary(values: np.ndarray) -> bool:
    """Whether all values are -1 and +1."""
    return bool(np.all(np.abs(values) == 1))


def pack(weights: Sequence[tuple[str, np.ndarray]]) -> tuple[tuple[Weight, ...], bytes, bytes]:
    """Pack the weights of a network.

    Args:
        weights: Names and float32 values in the order of Keras' `get_weights`.

    Returns:
        What each is; the bits of the binary ones, 1 for +1, each filled up to a whole byte; the values of the others,
        little-endian float32.

    Raises:
        ValueError: A weight is not float32.
    """
    listed: list[Weight] = []
    bits: list[bytes] = []
    floats: list[bytes] = []
    for name, values in weights:
        if values.dtype != np.float32:
            raise ValueError(f"{name} is {values.dtype}, not float32")
        # Only kernels: a batch norm whose values all happen to be -1 and +1 keeps its floats.
        binary = values.ndim > 1 and is_binary(values)
        listed.append(Weight(name, values.shape, binary))
        if binary:
            bits.append(np.packbits(values.ravel() > 0).tobytes())
        else:
            floats.append(values.astype(_FLOAT).tobytes())
    return tuple(listed), b"".join(bits), b"".join(floats)


def unpack(weights: Sequence[Weight], bits: bytes, floats: bytes) -> list[np.ndarray]:
    """The values of packed weights, float32, in their order.

    Args:
        weights: What each is.
        bits: Those of the binary ones, as `pack` gives them.
        floats: Those of the others.

    Raises:
        ValueError: There are more or fewer bits or floats than that.
    """
    values = []
    for weight in weights:
        count = math.prod(weight.shape)
        size = -(-count // 8) if weight.binary else count * _FLOAT.itemsize
        stored = bits if weight.binary else floats
        data, rest = stored[:size], stored[size:]
        if len(data) < size:
            raise ValueError(f"there is nothing left for {weight.name}")
        if weight.binary:
            bits = rest
            signs = np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(np.float32)
            flat = 2 * signs - 1
        else:
            floats = rest
            flat = np.frombuffer(data, _FLOAT).astype(np.float32)
        values.append(flat.reshape(weight.shape))
    if bits or floats:
        raise ValueError(f"{len(bits)} bytes of bits and {len(floats)} of floats are left over")
    return values
