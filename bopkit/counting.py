"""Weights and multiply-accumulates of a built network."""

from __future__ import annotations

import math
from typing import Any

from bopkit.architecture import Counts
from bopkit.optim import binary_layers


def count_network(model: Any) -> Counts:
    """Count the weights and the multiply-accumulates of one picture.

    Convolutions and dense layers count; batch norm, pooling and additions do not, as in larq's own summary.

    Args:
        model: A built `tf.keras.Model` with a fixed input shape.
    """
    binary = {id(layer): layer for layer in binary_layers(model)}
    macs = {"binary": 0, "mixed": 0, "float": 0}
    for layer in model._flatten_layers(include_self=False, recursive=True):
        kernel = getattr(layer, "kernel", None)
        if kernel is None:
            continue
        if id(layer) not in binary:
            precision = "float"
        elif getattr(getattr(layer, "input_quantizer", None), "precision", None) == 1:
            precision = "binary"
        else:
            precision = "mixed"
        positions = math.prod(layer.output_shape[1:-1])  # 1 for a dense layer on vectors
        macs[precision] += positions * math.prod(kernel.shape)
    return Counts(
        params=int(model.count_params()),
        binary_params=sum(math.prod(layer.kernel.shape) for layer in binary.values()),
        binary_macs=macs["binary"],
        mixed_macs=macs["mixed"],
        float_macs=macs["float"],
    )
