"""What a graph of `models` computes, in NumPy, from the definitions of its operators.

LCE's operators are exact: float32 results are the same bits. A binary value is -1 where its bit is set, else +1. A
convolution is a sum of products of such values, an integer; what lies around the image counts 0 or +1. Its output is

    float32(K - clamp(sum)) * float32(-multiplier / scale) + float32((bias + K * multiplier) / scale + zero point)

with K the number of products, the two constants computed in double precision, and the product rounded before the
addition. That is how LCE splits the batch normalization `clamp(sum) * multiplier + bias`, and the last bit depends on
it. Float convolutions and averages are computed in double precision and rounded once: they tell what is right, and not
to the last bit, unless all values are small integers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import oracle_int8
from models import Graph, Operator, Tensor, pack, unpack
from oracle_int8 import round_away
from windows import convolve, taps, windows

_CLAMPS = {0: (-np.inf, np.inf), 1: (0, np.inf), 2: (-1, 1), 3: (0, 6)}
"""By number of the fused activation."""


def evaluate(graph: Graph, feeds: list[np.ndarray]) -> list[np.ndarray]:
    """The graph's outputs for its inputs, which may have another batch size than the graph says."""
    values = {index: tensor.data for index, tensor in enumerate(graph.tensors) if tensor.data is not None}
    values |= dict(zip(graph.inputs, feeds))
    for operator in graph.operators:
        inputs = [None if index < 0 else values[index] for index in operator.inputs]
        tensors = [None if index < 0 else graph.tensors[index] for index in operator.inputs]
        output = graph.tensors[operator.output]
        is_quantized = oracle_int8.is_quantized(operator, tensors, output)
        compute = (oracle_int8.OPERATORS if is_quantized else _OPERATORS)[operator.type]
        with np.errstate(all="ignore"):
            result = compute(operator, inputs, tensors, output)
        results = result if operator.more_outputs else [result]
        values |= dict(zip([operator.output, *operator.more_outputs], results))
    return [values[index] for index in graph.outputs]


def _quantize(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    """Negative numbers have their bit set: not -0.0, no NaN, and no denormal number. False stands for -1.

    TensorFlow Lite makes the processor take denormal numbers for zero while it runs, so LCE does.
    """
    x = inputs[0]
    if x.dtype == bool:
        return pack(~x)
    if x.dtype == np.int8:
        return pack(x.astype(np.int64) < tensors[0].zero_point)
    return pack(x <= -np.finfo(np.float32).tiny)


def _dequantize(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    negative = unpack(inputs[0], output.shape[-1])
    if output.type == "bool":
        return ~negative
    if output.type == "int8":
        one = int(round_away(np.float32(1) / np.float32(output.scale)))
        values = max(output.zero_point - one, -128), min(output.zero_point + one, 127)
        return np.where(negative, *values).astype(np.int8)
    return np.where(negative, -1, 1).astype(np.float32)


def _bconv(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    options = operator.options
    words, filters, multiplier, bias, thresholds = inputs
    groups = words.shape[-1] // filters.shape[-1]
    group_channels = options["channels_in"] // groups
    unpacked = [unpack(each, group_channels) for each in np.split(words, groups, axis=-1)]
    signs = 1 - 2 * np.concatenate(unpacked, axis=-1).astype(np.float32)
    kernels = 1 - 2 * unpack(filters, group_channels).astype(np.float32)
    sums = convolve(signs, kernels, options, options["pad_values"], "_factor").astype(np.int64)
    products = filters.shape[1] * filters.shape[2] * group_channels
    if thresholds is not None:
        # The popcount, which counts products of -1, is half of K - sum.
        return pack(products - sums > 2 * thresholds.astype(np.int64))
    least, most = _CLAMPS[options["fused_activation_function"]]
    clamped = np.clip(sums, max(least, -products), min(most, products)).astype(np.int64)
    quantized = output.type == "int8"
    scale, zero_point = (float(np.float32(output.scale)), output.zero_point) if quantized else (1.0, 0)
    multiplier, bias = multiplier.astype(np.float64), bias.astype(np.float64)
    factor = (-multiplier / scale).astype(np.float32)
    offset = ((bias + products * multiplier) / scale + zero_point).astype(np.float32)
    result = (products - clamped).astype(np.float32) * factor
    result = result + offset
    return np.clip(round_away(result), -128, 127).astype(np.int8) if quantized else result


def _bmaxpool(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    """The greatest sign is negative where all are."""
    return np.bitwise_and.reduce(windows(inputs[0], operator.options, np.int32(-1)), axis=0)


def _binary(function: Callable) -> Callable:
    def apply(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
        return _activate(function(inputs[0], inputs[1]), operator)

    return apply


def _relu(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    return np.maximum(inputs[0], np.float32(0))


def _unary(function: Callable) -> Callable:
    def apply(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
        return function(inputs[0])

    return apply


def _real_weights(inputs: list, tensors: list[Tensor]) -> np.ndarray:
    """Weights [channels, ...] as the numbers that they stand for."""
    weights = inputs[1].astype(np.float64)
    if inputs[1].dtype != np.int8:
        return weights
    return weights * np.array(tensors[1].scales, np.float64).reshape(-1, *[1] * (weights.ndim - 1))


def _conv(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    x, _, bias = inputs
    sums = convolve(x.astype(np.float64), _real_weights(inputs, tensors), operator.options, 0, "")
    return _activate((sums + bias).astype(np.float32), operator)


def _max_pool(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    return _activate(windows(inputs[0], operator.options, np.float32(-np.inf)).max(axis=0), operator)


def _average_pool(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    """The mean of what lies in the image."""
    sums = windows(inputs[0].astype(np.float64), operator.options, 0.0).sum(axis=0)
    counts = windows(np.ones(inputs[0].shape), operator.options, 0.0).sum(axis=0)
    return _activate((sums / counts).astype(np.float32), operator)


def _mean(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    keep_dims = bool(operator.options["keep_dims"])
    return inputs[0].astype(np.float64).mean(axis=tuple(inputs[1]), keepdims=keep_dims).astype(np.float32)


def _dense(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    x, _, bias = inputs
    weights = _real_weights(inputs, tensors)
    sums = x.reshape(-1, weights.shape[1]).astype(np.float64) @ weights.T
    return _activate((sums + (0 if bias is None else bias)).astype(np.float32), operator)


def _reshape(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    return inputs[0].reshape(inputs[1])


def _concatenation(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    return np.concatenate(inputs, axis=operator.options["axis"])


def _split(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> list[np.ndarray]:
    return np.split(inputs[1], operator.options["num_splits"], axis=int(inputs[0]))


def _pad(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    return np.pad(inputs[0], inputs[1])


def _prelu(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    return np.where(inputs[0] >= 0, inputs[0], inputs[0] * inputs[1])


def _maximum(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    return np.maximum(inputs[0], inputs[1])


def _cast(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    return inputs[0].astype(output.type)


def _logistic(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    return (1 / (1 + np.exp(-inputs[0].astype(np.float64)))).astype(np.float32)


def _softmax(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    x = inputs[0].astype(np.float64) * operator.options["beta"]
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def _depthwise(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    filters, bias = inputs[1:]
    x = inputs[0].astype(np.float64).repeat(operator.options["depth_multiplier"], axis=-1)
    total: np.ndarray | int = 0
    for row, column, values in taps(x, operator.options, filters.shape[1:3], 0):
        total = total + values * filters[0, row, column]
    return _activate(np.asarray(total + bias).astype(np.float32), operator)


def _activate(x: np.ndarray, operator: Operator) -> np.ndarray:
    least, most = _CLAMPS[operator.options["activation"]]
    return np.clip(x, np.float32(least), np.float32(most))


_OPERATORS: dict[str, Callable] = {
    "LceQuantize": _quantize,
    "LceDequantize": _dequantize,
    "LceBconv2d": _bconv,
    "LceBMaxPool2d": _bmaxpool,
    "ADD": _binary(np.add),
    "SUB": _binary(np.subtract),
    "MUL": _binary(np.multiply),
    "RELU": _relu,
    "ABS": _unary(np.abs),
    "NEG": _unary(np.negative),
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "CONCATENATION": _concatenation,
    "SPLIT": _split,
    "PAD": _pad,
    "PRELU": _prelu,
    "MAXIMUM": _maximum,
    "LOGISTIC": _logistic,
    "SOFTMAX": _softmax,
    "MAX_POOL_2D": _max_pool,
    "AVERAGE_POOL_2D": _average_pool,
    "MEAN": _mean,
    "FULLY_CONNECTED": _dense,
    "RESHAPE": _reshape,
    "CAST": _cast,
}
