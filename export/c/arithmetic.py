"""The integers that stand for a network's real numbers: multipliers, thresholds and tables.

Every function here gives what TensorFlow Lite's reference kernels and LCE's compute, to the bit, or refuses.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from bopkit.export.c.errors import NotCoveredError

REAL_BOUNDS = {"NONE": (None, None), "RELU": (0.0, None), "RELU_N1_TO_1": (-1.0, 1.0), "RELU6": (0.0, 6.0)}
"""Least and greatest real number by fused activation."""

SUM_BOUNDS = {"NONE": (-(2**30), 2**30), "RELU": (0, 2**30), "RELU_N1_TO_1": (-1, 1), "RELU6": (0, 6)}
"""Least and greatest sum of signs by fused activation."""

INT8 = (-128, 127)

_MULTIPLIERS_TRIED = 256
_SLOPES_TRIED = 16
_WEIGHTS_TRIED = 4
_EXCEPTIONS = 4
"""Results of a channel that may lie beside its line, on average."""


def round_away(x: Any) -> Any:
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


def quantize(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """float32 as int8 numbers, int64 of any shape: TensorFlow Lite divides in float32."""
    scaled = (values / np.float32(scale)).astype(np.float64)
    return np.clip(round_away(scaled) + zero_point, *INT8).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Affine:
    """Integers with which `(distance * multiplier + offset) >> shift`, clamped to int8, gives a table of results.

    Results were rounded twice in float32, so that now and then one is not on the line.

    Attributes:
        multipliers: int64 [channels].
        offsets: int64 [channels], as 32 bits hold them: products and offsets may wrap around, their sum does not.
        shift: That all channels share.
        exceptions: int64 [n, 3]: channel, distance, and what is to be added to the result, by channel.
    """

    multipliers: np.ndarray
    offsets: np.ndarray
    shift: int
    exceptions: np.ndarray


def affine_integers(distances: np.ndarray, wanted: np.ndarray, slopes: np.ndarray) -> Affine:
    """Find such integers.

    Args:
        distances: int64 [n], ascending, all that occur.
        wanted: int64 [channels, n], within int8.
        slopes: Real numbers [channels]: how much a row grows as the distance grows by one.

    Raises:
        NotCoveredError: There are none.
    """
    for shift in range(26, 7, -1):
        found = []
        for row, slope in zip(wanted, slopes, strict=True):
            line = _line(distances, row, float(slope), shift)
            if line is None:
                break
            found.append(line)
        else:
            break
    else:
        raise NotCoveredError("no integers of 32 bits rescale its sums")
    multipliers, offsets = (np.array(each, np.int64) for each in zip(*found, strict=True))
    got = np.clip((distances * multipliers[:, None] + offsets[:, None]) >> shift, *INT8)
    channels, places = np.nonzero(got != wanted)
    if len(channels) > _EXCEPTIONS * len(wanted):
        raise NotCoveredError("its sums are not rescaled along a line")
    exceptions = np.stack([channels, distances[places], (wanted - got)[channels, places]], axis=1)
    return Affine(multipliers, (offsets + (1 << 31)) % (1 << 32) - (1 << 31), shift, exceptions)


def _line(distances: np.ndarray, wanted: np.ndarray, slope: float, shift: int) -> tuple[int, int] | None:
    """Multiplier and offset that fit one channel best; None where they do not fit into 32 bits."""
    # Where the result is at its end, what lies beyond it is right too.
    low = np.where(wanted == INT8[0], -(1 << 62), wanted << shift)
    high = np.where(wanted == INT8[1], 1 << 62, ((wanted + 1) << shift) - 1)
    best, fewest = None, len(wanted) + 1
    for change in sorted(range(-_SLOPES_TRIED, _SLOPES_TRIED + 1), key=abs):
        multiplier = round(slope * 2.0**shift) + change
        products = distances * multiplier
        offset = _most_within(low - products, high - products)
        wrong = int(((products + offset < low) | (products + offset > high)).sum())
        if wrong < fewest:
            best, fewest = (multiplier, offset), wrong
        if not wrong:
            break
    assert best is not None
    fits = int(np.abs(distances * best[0] + best[1]).max()) < 1 << 31 and abs(best[0]) < 1 << 31
    return best if fits else None


def _most_within(low: np.ndarray, high: np.ndarray) -> int:
    """A number that lies within the most of all spans from `low` to `high`."""
    least, most = int(low.max()), int(high.min())
    if least <= most:
        return (least + most) // 2
    candidates = np.concatenate([low[low > -(1 << 61)], high[high < 1 << 61]])
    counts = np.searchsorted(np.sort(low), candidates, "right") - np.searchsorted(np.sort(high), candidates, "left")
    return int(candidates[counts.argmax()])


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


def weighted_sum(
    wanted: np.ndarray, bounds: tuple[int, int], first: float, second: float
) -> tuple[int, int, int, int] | None:
    """Integers with which `(a * first + b * second + offset) >> shift`, clamped to the bounds, is what is wanted.

    Args:
        wanted: int64 [256, 256], for all pairs of int8 numbers a and b.
        bounds: Least and greatest result.
        first: Real weight of the first number.
        second: Real weight of the second.

    Returns:
        Both weights, the offset and the shift; None where there are none of 32 bits.
    """
    numbers = np.arange(-128, 128, dtype=np.int64)
    largest_shift = 22 - max(0, math.frexp(max(abs(first), abs(second)))[1])
    changes = _changes()
    for shift in range(largest_shift, largest_shift - 3, -1):
        low = np.where(wanted == bounds[0], -(1 << 62), wanted << shift)
        high = np.where(wanted == bounds[1], 1 << 62, ((wanted + 1) << shift) - 1)
        for change, second_change in changes:
            weights = round(first * 2.0**shift) + change, round(second * 2.0**shift) + second_change
            products = numbers[:, None] * weights[0] + numbers[None] * weights[1]
            least, most = int((low - products).max()), int((high - products).min())
            offset = (least + most) // 2
            if least <= most and max(int(np.abs(products + offset).max()), abs(offset)) < 1 << 31:
                return *weights, offset, shift
    return None


def weighted_signs(negative: np.ndarray, first: float, second: float) -> tuple[int, int, int] | None:
    """Integers with which `a * first + b * second + offset` is negative where it is to be.

    Args:
        negative: bool [256, 256], for all pairs of int8 numbers a and b.
        first: Real weight of the first number.
        second: Real weight of the second.

    Returns:
        Both weights and the offset; None where there are none of 32 bits.
    """
    numbers = np.arange(-128, 128, dtype=np.int64)
    scale = 2.0**21 / max(abs(first), abs(second))
    for change, second_change in _changes():
        weights = round(first * scale) + change, round(second * scale) + second_change
        products = numbers[:, None] * weights[0] + numbers[None] * weights[1]
        below = int(products[negative].max(initial=-(1 << 30)))
        above = int(products[~negative].min(initial=1 << 30))
        if below < above:
            return *weights, -((below + above + 1) // 2)
    return None


def _changes() -> list[tuple[int, int]]:
    """Small changes of two weights, the least first."""
    changes = range(-_WEIGHTS_TRIED, _WEIGHTS_TRIED + 1)
    pairs = [(one, other) for one in changes for other in changes]
    return sorted(pairs, key=lambda pair: max(map(abs, pair)))
