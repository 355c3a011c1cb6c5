"""A start from a network whose binary kernels are signs times their mean magnitude, for one with plain signs.

Without the factor a convolution answers with larger numbers, one factor a channel: the batch norm behind it gets the
statistics of these, and the network computes the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bopkit.batch_norm import is_batch_norm

Layer = Any  # TensorFlow is imported inside the functions


def is_scaled(layer: Layer) -> bool:
    """Whether a layer multiplies the signs of its kernel by their mean magnitude, one factor a channel."""
    import larq as lq

    return isinstance(getattr(layer, "kernel_quantizer", None), lq.quantizers.MagnitudeAwareSign)


def take_scale_out(layer: Layer, source: Layer, taken: Sequence[Layer]) -> bool:
    """Divide the statistics of the batch norm behind a layer by the factors that the other layer multiplies with.

    Args:
        layer: Has the kernel of `source`, and plain signs; the batch norm is changed in place.
        source: For which `is_scaled`.
        taken: The layers that have weights of the other network: the batch norm has to be one of them.

    Returns:
        Whether there is such a batch norm, and nothing else behind the layer.
    """
    behind = [node.outbound_layer for node in layer.outbound_nodes]
    if len(behind) != 1 or not is_batch_norm(behind[0]) or not any(each is behind[0] for each in taken):
        return False
    if layer.use_bias:
        return False
    if getattr(layer, "activation", None) is not None and layer.activation.__name__ != "linear":
        return False
    (norm,) = behind
    kernel = source.kernel.numpy()
    factors = np.abs(kernel).mean(axis=tuple(range(kernel.ndim - 1)), dtype=np.float64)
    if norm.moving_mean.shape != factors.shape or not np.all(factors > 0):
        return False
    variance = (norm.moving_variance.numpy().astype(np.float64) + norm.epsilon) / factors**2 - norm.epsilon
    norm.moving_mean.assign(norm.moving_mean.numpy() / factors)
    norm.moving_variance.assign(np.maximum(variance, 0))
    return True
