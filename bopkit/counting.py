"""Weights and multiply-accumulates of a built network, and of its blocks."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable
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
    inner = model._flatten_layers(include_self=False, recursive=True)
    macs = _count_macs(inner, _ids_of_binary_layers(model))
    params, binary_params = count_weights(model)
    return Counts(params=params, binary_params=binary_params, **macs)


@dataclasses.dataclass(frozen=True)
class Block:
    """Neighbouring layers whose names begin alike, as `stage1_block1_conv` and `stage1_block2_bn` do.

    Attributes:
        name: What they begin with: `stage1`.
        kernels: How many kernels of each kind there are: `4 binary 3x3, real 1x1`.
        output_shape: Of the last layer, without the batch: height, width, channels, or units.
        params: Weights, batch-norm statistics included.
        binary_params: Weights of one bit.
        binary_macs: Multiply-accumulates of one picture with binary weights and binary inputs.
        mixed_macs: With binary weights and real inputs.
        float_macs: With real weights.
    """

    name: str
    kernels: str
    output_shape: tuple[int, ...]
    params: int
    binary_params: int
    binary_macs: int
    mixed_macs: int
    float_macs: int


def count_blocks(model: Any) -> list[Block]:
    """What each block of a network has of its weights and operations, from the input to the output.

    Args:
        model: A built `tf.keras.Model` with a fixed input shape.
    """
    blocks: list[tuple[str, list[Any]]] = []
    for layer in model.layers:
        name = layer.name.partition("_")[0]
        is_operation = "." in name  # `tf.split`: what stock Keras makes of a call
        if not blocks or not (is_operation or name == blocks[-1][0]):
            blocks.append((name, []))
        blocks[-1][1].append(layer)
    binary = _ids_of_binary_layers(model)
    return [_block(name, layers, binary) for name, layers in blocks]


def _block(name: str, layers: list[Any], binary: set[int]) -> Block:
    inner = [each for layer in layers for each in layer._flatten_layers(include_self=True, recursive=True)]
    kernels = Counter(text for layer in inner if (text := _kernel_text(layer, id(layer) in binary)))
    counts = [count_weights(layer) for layer in layers]
    shape = layers[-1].output_shape
    return Block(
        name=name,
        kernels=", ".join(text if count == 1 else f"{count} {text}" for text, count in kernels.items()),
        output_shape=tuple((shape[0] if isinstance(shape, list) else shape)[1:]),
        params=sum(params for params, _ in counts),
        binary_params=sum(binary_params for _, binary_params in counts),
        **_count_macs(inner, binary),
    )


def _ids_of_binary_layers(model: Any) -> set[int]:
    return {id(layer) for layer in binary_layers(model)}


def _kernel(layer: Any) -> Any:
    return getattr(layer, "depthwise_kernel", getattr(layer, "kernel", None))


def _kernel_text(layer: Any, is_binary: bool) -> str:
    """What kind of kernel a layer has: `binary 3x3`; empty for none."""
    kernel = _kernel(layer)
    if kernel is None:
        return ""
    size = "x".join(map(str, kernel.shape[:-2])) or "dense"
    kind = f"{'binary' if is_binary else 'real'} {size}"
    return f"{kind} depthwise" if hasattr(layer, "depthwise_kernel") else kind


def _count_macs(layers: Iterable[Any], binary: set[int]) -> dict[str, int]:
    """Multiply-accumulates of one picture by the names that `Counts` and `Block` have for them."""
    macs = {"binary_macs": 0, "mixed_macs": 0, "float_macs": 0}
    for layer in layers:
        kernel = _kernel(layer)
        if kernel is None:
            continue
        if id(layer) not in binary:
            precision = "float"
        elif getattr(getattr(layer, "input_quantizer", None), "precision", None) == 1:
            precision = "binary"
        else:
            precision = "mixed"
        positions = math.prod(layer.output_shape[1:-1])  # 1 for a dense layer on vectors
        macs[f"{precision}_macs"] += positions * math.prod(kernel.shape)
    return macs


def _quantize(variable: Any) -> np.ndarray:
    """What a layer computes with, float32; larq's own reading of the variable fails in mixed precision."""
    latent = variable.latent_variable.numpy()
    return latent if variable.quantizer is None else variable.quantizer(latent).numpy().astype(np.float32)
