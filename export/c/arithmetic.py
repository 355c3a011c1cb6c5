"""The integers that stand for a network's real numbers: multipliers, thresholds and tables.

Every function here gives what TensorFlow Lite's reference kernels and LCE's compute, to the bit, or refuses.
"""

from __future__ import annotations

import math

import numpy as np

from bopkit.export.c.errors import NotCoveredError

REAL_BOUNDS = {"NONE": (None, None), "RELU": (0.0, None), "RELU_N1_TO_1": (-1.0, 1.0), "RELU6": (0.0, 6.0)}
"""Least and greatest real number by fused activation."""

SUM_BOUNDS = {"NONE": (-(2**30), 2**30), "RELU": (0, 2**30), "RELU_N1_TO_1": (-1, 1), "RELU6": (0, 6)}
"""Least and greatest sum of signs by fused activation."""

INT8 = (-128, 127)

_MULTIPLIERS_TRIED = 256
_SLOPES_TRIED = 16


def round_away(x: np.ndarray) -> np.ndarray:
    """To the nearest integer, halves away from zero: float64."""
    return np.copysign(np.floor(np.abs(x) + 0.5), x)


def quantized_multiplier(factor: float) -> tuple[int, int]:
    """A positive real factor as `multiplier * 2 ** (-31 - shift)`: TensorFlow Lite's QuantizeMultiplier."""
    fraction, exponent = math.frexp(factor)
    multiplier = int(round_away(np.float64(fraction * 2.0**31)))
    if multiplier == 1 << 31:
        multiplier, exponent = multiplier // 2, exponent + 1
    return (0, 0) if exponent < -31 else (multiplier, -exponent)


def rescale(x: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """int64 of 32 bits times such a factor, rounded twice: MultiplyByQuantizedMultiplier."""
    high = ((x << max(-shift, 0)) * multiplier + (1 << 30)) >> 31
    right = max(shift, 0)
    return (high >> right) + ((high & ((1 << right) - 1)) > ((1 << right) - 1 >> 1) + (high < 0))


def rescale_once(x: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """The same, rounded once, halves up."""
    return (x * multiplier + (1 << (30 + shift))) >> (31 + shift)


def product_factors(input_scale: float, kernel_scales: np.ndarray, output_scale: float, channels: int) -> list[float]:
    """What the sums of products of a quantized layer are multiplied by, one a channel: in double precision."""
    factors = [float(np.float32(input_scale)) * float(each) / float(np.float32(output_scale)) for each in kernel_scales]
    return factors * channels if len(factors) == 1 else factors


def quantized_bounds(activation: str, scale: float, zero_point: int) -> tuple[int, int]:
    """Least and greatest stored number of an int8 output with a fused activation."""
    low, high = (
        None if real is None else zero_point + int(round_away(np.float64(np.float32(real) / np.float32(scale))))
        for real in REAL_BOUNDS[activation]
    )
    return max(INT8[0], INT8[0] if low is None else low), min(INT8[1], INT8[1] if high is None else high)


def one_rounding_multiplier(factor: float, largest_sum: int) -> tuple[int, int]:
    """The multiplier and shift with which `rescale_once` gives what rounding `sum * factor` in double precision gives.

    TensorFlow Lite's dense layers round so. Only where a result changes can they differ, so each of these is tried.

    Args:
        factor: Positive.
        largest_sum: Of those that occur, without sign.

    Raises:
        NotCoveredError: No multiplier of 31 bits does.
    """
    multiplier, shift = quantized_multiplier(factor)
    if multiplier == 0:
        return 0, 0
    steps = np.arange(-256, 257)
    near = np.floor((steps - 0.5) / factor).astype(np.int64)
    sums = (near[:, None] + np.arange(-2, 4)).ravel()
    sums = sums[np.abs(sums) <= largest_sum]
    wanted = round_away(sums * factor)
    for change in sorted(range(-_MULTIPLIERS_TRIED, _MULTIPLIERS_TRIED + 1), key=abs):
        tried = multiplier + change
        if tried < 1 << 31 and np.array_equal(rescale_once(sums, tried, shift), wanted):
            return tried, shift
    raise NotCoveredError(f"no integer of 31 bits rescales its sums as {factor} does")


def bconv_floats(
    distances: np.ndarray, multiplier: np.ndarray, bias: np.ndarray, products: int, activation: str
) -> np.ndarray:
    """What a binary convolution answers, float32 [channels, n], for distances [n]."""
    least, most = SUM_BOUNDS[activation]
    sums = np.clip(products - distances.astype(np.int64), least, most)
    factor = (-multiplier.astype(np.float64)).astype(np.float32)
    offset = (bias.astype(np.float64) + products * multiplier.astype(np.float64)).astype(np.float32)
    return (products - sums).astype(np.float32)[None] * factor[:, None] + offset[:, None]


def bconv_integers(
    distances: np.ndarray,
    multiplier: np.ndarray,
    bias: np.ndarray,
    products: int,
    activation: str,
    scale: float,
    zero_point: int,
) -> np.ndarray:
    """The same of an int8 output: int64 [channels, n]."""
    least, most = SUM_BOUNDS[activation]
    sums = np.clip(products - distances.astype(np.int64), least, most)
    wide = float(np.float32(scale))
    factor = (-multiplier.astype(np.float64) / wide).astype(np.float32)
    offset = ((bias.astype(np.float64) + products * multiplier.astype(np.float64)) / wide + zero_point).astype(
        np.float32
    )
    results = (products - sums).astype(np.float32)[None] * factor[:, None] + offset[:, None]
    return np.clip(round_away(results.astype(np.float64)), *INT8).astype(np.int64)


def affine_integers(
    distances: np.ndarray, wanted: np.ndarray, slopes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Integers with which `(distance * multiplier + offset) >> shift`, clamped to int8, is what is wanted.

    Args:
        distances: int64 [n], ascending, all that occur.
        wanted: int64 [channels, n], within int8.
        slopes: Real numbers [channels]: about how much a row grows from one distance to the next but one.

    Returns:
        int64 multipliers and offsets [channels], and the shift that all share; no product leaves 32 bits.

    Raises:
        NotCoveredError: There are none.
    """
    for shift in range(24, 7, -1):
        found = []
        for row, slope in zip(wanted, slopes, strict=True):
            pair = _affine(distances, row, float(slope), shift)
            if pair is None:
                break
            found.append(pair)
        else:
            multipliers, offsets = np.array(found, np.int64).T
            return multipliers, offsets, shift
    raise NotCoveredError("no integers of 32 bits rescale its sums")


def _affine(distances: np.ndarray, wanted: np.ndarray, slope: float, shift: int) -> tuple[int, int] | None:
    """Multiplier and offset of one channel; None where there are none of 32 bits."""
    # Where the result is at its end, what lies beyond it is right too.
    low = np.where(wanted == INT8[0], -(1 << 62), wanted << shift)
    high = np.where(wanted == INT8[1], 1 << 62, ((wanted + 1) << shift) - 1)
    for change in sorted(range(-_SLOPES_TRIED, _SLOPES_TRIED + 1), key=abs):
        multiplier = round(slope * 2.0**shift) + change
        products = distances * multiplier
        least, most = int((low - products).max()), int((high - products).min())
        if least <= most:
            offset = max(least, min(most, (least + most) // 2))
            largest = max(int(np.abs(products).max()), int(np.abs(products + offset).max()), abs(offset))
            return (multiplier, offset) if largest < 1 << 31 else None
    return None


def sign_thresholds(negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where signs change, for values in ascending order.

    Args:
        negative: bool [channels, n], for n values: at most one change in each row.

    Returns:
        int64 [channels], 0 to n: values from that position on have the bit `True`, those before it `False`; and bool
        [channels]: whether these are to be inverted.

    Raises:
        NotCoveredError: A sign changes more than once.
    """
    changes = negative[:, 1:] != negative[:, :-1]
    if (changes.sum(axis=1) > 1).any():
        raise NotCoveredError("the sign of its results changes more than once as the sum grows")
    count = negative.shape[1]
    position = np.where(changes.any(axis=1), changes.argmax(axis=1) + 1, count)
    constant = ~changes.any(axis=1)
    inverted = np.where(constant, negative[:, 0], ~negative[:, -1] & changes.any(axis=1))
    return position.astype(np.int64), inverted


def is_negative(values: np.ndarray) -> np.ndarray:
    """Of which float32 numbers LCE sets the bit: denormal numbers count as zero."""
    return values <= -np.finfo(np.float32).tiny
