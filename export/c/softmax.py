"""Powers of e in the integers of TensorFlow Lite's softmax."""

from __future__ import annotations

import math

import numpy as np

_DIFFERENCE_BITS = 5
"""Integer bits of a scaled difference of two scores."""

_FRACTION_BITS = 31 - _DIFFERENCE_BITS

_POWERS_OF_TWO_BITS = {
    -2: 1672461947,
    -1: 1302514674,
    0: 790015084,
    1: 290630308,
    2: 39332535,
    3: 720401,
    4: 242,
}
"""exp(-2 ** k) with 31 fractional bits, by k."""

_ONE_EIGHTH = 1895147668
"""exp(-1/8) with 31 fractional bits."""

_THIRD = 715827883
"""1/3 with 31 fractional bits."""

_LARGEST = 2**31 - 1


def powers(scale: float, beta: float) -> np.ndarray:
    """exp(-d * scale * beta) with 31 fractional bits, for d = 0, 1, ... as far as they count: int64 [n], n <= 256.

    Args:
        scale: Of the scores.
        beta: What they are multiplied by.
    """
    factor = min(beta * float(np.float32(scale)) * (1 << _FRACTION_BITS), 2.0**31 - 1)
    fraction, exponent = math.frexp(factor)
    multiplier = round(fraction * 2**31)
    if multiplier == 1 << 31:
        multiplier, exponent = multiplier // 2, exponent + 1
    farthest = math.floor(((1 << _DIFFERENCE_BITS) - 1) * 2.0**_FRACTION_BITS / 2.0**exponent)
    differences = range(min(farthest, 255) + 1)
    return np.array([_power(_product(-each << exponent, multiplier)) for each in differences], np.int64)


def _power(x: int) -> int:
    """exp(x) for x <= 0 with `_FRACTION_BITS` fractional bits."""
    if x == 0:
        return _LARGEST
    quarter = 1 << (_FRACTION_BITS - 2)
    rest = (x & (quarter - 1)) - quarter
    result = _power_near_zero(rest << _DIFFERENCE_BITS)
    left = rest - x
    for exponent, factor in _POWERS_OF_TWO_BITS.items():
        if left & (1 << (_FRACTION_BITS + exponent)):
            result = _product(result, factor)
    return result


def _power_near_zero(x: int) -> int:
    """exp(x) for -1/4 <= x < 0 with 31 fractional bits: a Taylor polynomial around -1/8."""
    y = x + (1 << 28)
    square = _product(y, y)
    cube, fourth = _product(square, y), _product(square, square)
    sum_of_rest = _divided(_product(_divided(fourth, 2) + cube, _THIRD) + square, 1)
    return min(_ONE_EIGHTH + _product(_ONE_EIGHTH, y + sum_of_rest), _LARGEST)


def _product(a: int, b: int) -> int:
    """A * b / 2^31, rounded to the nearest, as SaturatingRoundingDoublingHighMul does."""
    product = a * b
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    return nudged >> 31 if nudged >= 0 else -(-nudged >> 31)


def _divided(x: int, bits: int) -> int:
    """X / 2^bits, rounded to the nearest, halves away from zero."""
    mask = (1 << bits) - 1
    return (x >> bits) + ((x & mask) > (mask >> 1) + (x < 0))
