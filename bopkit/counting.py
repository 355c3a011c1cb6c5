"""Weights and multiply-accumulates of a built network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bopkit.architecture import Counts
from bopkit.binary_kernels import binary_layers
from bopkit.keras2 import import_tensorflow


def count_weights(network: Any) -> tuple[int, int]:
    """Count the weights of a network, and those of them that take one bit.

    A kernel counts as binary by what it holds after its quantizer, not by what the quantizer declares: convolutions,
    depthwise and separable ones, dense layers, wrapped or not.

    Args:
        network: A built `tf.keras.Model`, or one layer of it.

    Returns:
        All weights, batch-norm statistics included, and the binary ones.
    """
    import_tensorflow()
    from larq.quantized_variable import QuantizedVariable

    quantized = [variable for variable in network.weights if isinstance(variable, QuantizedVariable)]
    binary = sum(math.prod(variable.shape) for variable in quantized if is_binary(_quantize(variable)))
    layers = {id(layer): layer for layer in network._flatten_layers()}
    binary += sum(math.prod(layer.kernel.shape) for layer in layers.values() if holds_signs(layer))
    return int(network.count_params()), binary


def is_binary(kernel: np.ndarray) -> bool:
    """Whether all weights of each output channel (last axis) are +-scale with one finite scale above zero."""
    magnitude = np.abs(kernel).reshape(-1, kernel.shape[-1])
    scale = magnitude[0]
    return bool(np.all(scale > 0) and np.all(np.isfinite(scale)) and np.all(magnitude == scale))


def holds_signs(layer: Any) -> bool:
    """Whether a convolution or dense layer without a quantizer holds -1 and +1 alone, more than one an output channel.

    An optimizer for binary weights leaves such kernels, as in the networks of the Bop paper's own code.
    """
    keras = import_tensorflow().keras.layers
    from larq.quantized_variable import QuantizedVariable

    kernel = getattr(layer, "kernel", None)
    if not isinstance(layer, (keras.Conv2D, keras.Dense)) or kernel is None or isinstance(kernel, QuantizedVariable):
        return False
    values = kernel.numpy()
    return bool(values.size > values.shape[-1] and np.all(np.abs(values) == 1))


def count_network(model: Any) -> Counts:
    """Count the weights and the multiply-accumulates of one picture.

    Layers with one kernel multiply: convolutions, depthwise ones included, and dense layers. Batch norm, pooling and
    additions do not count, as in larq's own summary.

    Args:
        model: A built `tf.keras.Model` with a fixed input shape.
    """
    binary = {id(layer) for layer in binary_layers(model)}
    macs = {"binary": 0, "mixed": 0, "float": 0}
    for layer in model._flatten_layers(include_self=False, recursive=True):
        kernel = getattr(layer, "depthwise_kernel", getattr(layer, "kernel", None))
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
    params, binary_params = count_weights(model)
    return Counts(
        params=params,
        binary_params=binary_params,
        binary_macs=macs["binary"],
        mixed_macs=macs["mixed"],
        float_macs=macs["float"],
    )


def _quantize(variable: Any) -> np.ndarray:
    """What a layer computes with, float32; larq's own reading of the variable fails in mixed precision."""
    latent = variable.latent_variable.numpy()
    return latent if variable.quantizer is None else variable.quantizer(latent).numpy().astype(np.float32)
