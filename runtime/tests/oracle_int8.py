"""What LiteRT's reference kernels compute of int8 and uint8 tensors, in NumPy integers: the same bits.

A real factor is the integer `multiplier` of 31 bits and a power of two. Rescaling by it rounds twice: the high half of
the product is rounded to the nearest integer, halves up, and what a negative exponent shifts out is rounded to the
nearest, halves away from zero. Where the result would depend on how C++ overflows, the oracle refuses.

In which precision a factor is computed from the scales belongs to the definition: operators differ in it.

The definitions are those of ai-edge-litert 2.3. Its default kernels on x86, which are XNNPACK's or else the optimized
ones, have other bits for some operators: `write_golden` says for which.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from models import ACTIVATIONS, Operator, Tensor
from windows import convolve, taps, windows

_TYPES = ("int8", "uint8")
_BOUNDS = {"NONE": (None, None), "RELU": (0, None), "RELU_N1_TO_1": (-1, 1), "RELU6": (0, 6)}
"""Real numbers, by activation."""


def is_quantized(operator: Operator, tensors: list[Tensor | None], output: Tensor) -> bool:
    """Whether an operator of LiteRT computes with quantized numbers, and has a definition here."""
    return operator.type in OPERATORS and any(tensor.type in _TYPES for tensor in (tensors[0], output) if tensor)


def round_away(x: np.ndarray) -> np.ndarray:
    """To the nearest integer, halves away from zero; exact, as double precision holds a float32 plus a half."""
    wide = np.asarray(x, np.float64)
    return np.copysign(np.floor(np.abs(wide) + 0.5), wide)


def quantized_multiplier(factor: float) -> tuple[int, int]:
    """A real factor as `multiplier * 2 ** (exponent - 31)`."""
    fraction, exponent = math.frexp(factor)
    multiplier = int(round_away(fraction * 2.0**31))
    if multiplier == 1 << 31:
        multiplier, exponent = multiplier // 2, exponent + 1
    return (0, 0) if exponent < -31 else (multiplier, exponent)


def rescale(x: np.ndarray, multiplier: int, exponent: int) -> np.ndarray:
    """int32 times such a factor."""
    shifted = x.astype(np.int64) << max(exponent, 0)
    assert np.abs(shifted).max(initial=0) < 1 << 31, "LiteRT's int32 overflows here"
    high = (shifted * multiplier + (1 << 30)) >> 31
    right = max(-exponent, 0)
    threshold = ((1 << right) - 1 >> 1) + (high < 0)
    return (high >> right) + ((high & (1 << right) - 1) > threshold)


def _rescale_channels(sums: np.ndarray, factors: list[float]) -> np.ndarray:
    """Sums of products [..., channels], each channel by its factor."""
    columns = [rescale(sums[..., c], *quantized_multiplier(factor)) for c, factor in enumerate(factors)]
    return np.stack(columns, axis=-1)


def _range(activation: str, output: Tensor) -> tuple[int, int]:
    """Least and greatest number of the output."""
    limits = np.iinfo(output.type)

    def bound(real: float | None, default: int) -> int:
        return default if real is None else output.zero_point + int(round_away(np.float32(real) / _scale(output)))

    low, high = _BOUNDS[activation]
    return max(limits.min, bound(low, limits.min)), min(limits.max, bound(high, limits.max))


def _finish(x: np.ndarray, output: Tensor, activation: str = "NONE") -> np.ndarray:
    """Adds the zero point, clamps and narrows."""
    low, high = _range(activation, output)
    return np.minimum(np.maximum(x + output.zero_point, low), high).astype(output.type)


def _activation(operator: Operator) -> str:
    return ACTIVATIONS[operator.options["activation"]]


def _scale(tensor: Tensor) -> np.float32:
    (scale,) = tensor.scales
    return np.float32(scale)


def _centred(x: np.ndarray, tensor: Tensor) -> np.ndarray:
    return x.astype(np.int64) - tensor.zero_point


def _biased(sums: np.ndarray, inputs: list) -> np.ndarray:
    """With the bias, if there is one."""
    biased = sums + (inputs[2].astype(np.int64) if len(inputs) == 3 and inputs[2] is not None else 0)
    assert np.abs(biased).max(initial=0) < 1 << 31, "LiteRT's int32 overflows here"
    return biased


def _product_factors(tensors: list[Tensor], output: Tensor, channels: int) -> list[float]:
    """Of a convolution's sums, in double precision; one scale is that of all channels."""
    scales = tensors[1].scales
    factors = [float(_scale(tensors[0])) * float(np.float32(each)) / float(_scale(output)) for each in scales]
    return factors if len(factors) == channels else factors * channels


def _conv(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    """Around the image is the zero point."""
    filters = inputs[1].astype(np.float64)  # exact, and faster than integers
    x = _centred(inputs[0], tensors[0]).astype(np.float64)
    sums = convolve(x, filters, operator.options, 0)
    sums = _biased(sums.astype(np.int64), inputs)
    factors = _product_factors(tensors, output, len(filters))
    return _finish(_rescale_channels(sums, factors), output, _activation(operator))


def _depthwise(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    """A channel of the input is that of `depth_multiplier` filters, one after the other."""
    filters = inputs[1].astype(np.int64)
    x = _centred(inputs[0], tensors[0]).repeat(operator.options["depth_multiplier"], axis=-1)
    met = taps(x, operator.options, filters.shape[1:3], 0)
    products = [values * filters[0, row, column] for row, column, values in met]
    factors = _product_factors(tensors, output, filters.shape[-1])
    return _finish(_rescale_channels(_biased(sum(products), inputs), factors), output, _activation(operator))


def _dense(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    """Sums are rescaled in double precision and rounded once, halves away from zero: unlike those of convolutions."""
    weights = inputs[1].astype(np.int64)
    sums = _biased(_centred(inputs[0], tensors[0]).reshape(-1, weights.shape[1]) @ weights.T, inputs)
    results = round_away(sums * np.array(_product_factors(tensors, output, len(weights))))
    assert np.abs(results).max(initial=0) < 1 << 31, "LiteRT's int32 overflows here"
    return _finish(results.astype(np.int64), output, _activation(operator))


def _average_pool(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    """The mean of what lies in the image, halves away from zero, with no regard to the zero point."""
    x = inputs[0].astype(np.int64)
    sums = windows(x, operator.options, 0).sum(axis=0)
    counts = windows(np.ones_like(x), operator.options, 0).sum(axis=0)
    means = np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)
    return np.clip(means, *_range(_activation(operator), output)).astype(output.type)


def _max_pool(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    around = np.iinfo(output.type).min
    greatest = windows(inputs[0].astype(np.int64), operator.options, around).max(axis=0)
    return np.clip(greatest, *_range(_activation(operator), output)).astype(output.type)


def _sum(sign: int) -> Callable:
    """ADD or SUB: both operands in a common scale, 20 bits finer than twice the larger of theirs."""

    def apply(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
        scales = [float(_scale(tensor)) for tensor in tensors]
        twice = 2 * max(scales)
        total: np.ndarray | int = 0
        for x, tensor, scale, factor in zip(inputs, tensors, scales, (1, sign)):
            multiplier, exponent = quantized_multiplier(scale / twice)
            total = total + rescale(_centred(x, tensor) << 20, multiplier * factor, exponent)
        result = rescale(np.asarray(total), *quantized_multiplier(twice / (float(_scale(output)) * 2**20)))
        return _finish(result, output, _activation(operator))

    return apply


def _multiply(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    """The factor is computed in float32."""
    products = _centred(inputs[0], tensors[0]) * _centred(inputs[1], tensors[1])
    factor = float(_scale(tensors[0]) * _scale(tensors[1]) / _scale(output))
    return _finish(rescale(products, *quantized_multiplier(factor)), output, _activation(operator))


def _prelu(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    """Both factors, of what is positive and of what is multiplied by a slope, are computed in float32."""
    x, slopes = _centred(inputs[0], tensors[0]), _centred(inputs[1], tensors[1])
    positive = float(_scale(tensors[0]) / _scale(output))
    negative = float(_scale(tensors[0]) * _scale(tensors[1]) / _scale(output))
    kept = rescale(np.maximum(x, 0), *quantized_multiplier(positive))
    sloped = rescale(np.minimum(x, 0) * slopes, *quantized_multiplier(negative))
    return _finish(np.where(x >= 0, kept, sloped), output)


def _relu(activation: str) -> Callable:
    """The factor is computed in float32."""

    def apply(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
        factor = float(_scale(tensors[0]) / _scale(output))
        return _finish(rescale(_centred(inputs[0], tensors[0]), *quantized_multiplier(factor)), output, activation)

    return apply


def _mean(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    """The number of elements goes into the multiplier, which keeps 31 bits, and is cut to an integer."""
    axes = tuple(int(axis) for axis in inputs[1])
    keep_dims = bool(operator.options["keep_dims"])
    count = math.prod(inputs[0].shape[axis] for axis in axes)
    sums = _centred(inputs[0], tensors[0]).sum(axis=axes, keepdims=keep_dims)
    multiplier, exponent = quantized_multiplier(float(_scale(tensors[0])) / float(_scale(output)))
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    return _finish(rescale(sums, (multiplier << shift) // count, exponent - shift), output)


def _pad(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    return np.pad(inputs[0], inputs[1], constant_values=output.zero_point)


def _quantize(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    """float32 is divided in float32; numbers of another quantization are rescaled."""
    x = inputs[0]
    if x.dtype != np.float32:
        factor = float(_scale(tensors[0])) / float(_scale(output))
        return _finish(rescale(_centred(x, tensors[0]), *quantized_multiplier(factor)), output)
    limits = np.iinfo(output.type)
    return np.clip(round_away(x / _scale(output)) + output.zero_point, limits.min, limits.max).astype(output.type)


def _dequantize(operator: Operator, inputs: list, tensors: list[Tensor], output: Tensor) -> np.ndarray:
    along = [-1 if axis == tensors[0].quantized_dimension else 1 for axis in range(inputs[0].ndim)]
    scales = np.array(tensors[0].scales, np.float32)
    return _centred(inputs[0], tensors[0]).astype(np.float32) * (scales.reshape(along) if len(scales) > 1 else scales)


OPERATORS: dict[str, Callable] = {
    "ADD": _sum(1),
    "SUB": _sum(-1),
    "MUL": _multiply,
    "RELU": _relu("RELU"),
    "RELU6": _relu("RELU6"),
    "RELU_N1_TO_1": _relu("RELU_N1_TO_1"),
    "PRELU": _prelu,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "MAX_POOL_2D": _max_pool,
    "AVERAGE_POOL_2D": _average_pool,
    "MEAN": _mean,
    "PAD": _pad,
    "QUANTIZE": _quantize,
    "DEQUANTIZE": _dequantize,
}
