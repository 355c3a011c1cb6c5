"""Axes of charts: from figures to places, with round ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Axis(NamedTuple):
    """From figures to places: linear or logarithmic."""

    low: float
    high: float
    is_log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, 0 to 1; beyond the ends, at the end."""
        low, high, value = (math.log(max(each, 1e-300)) if self.is_log else each for each in (*self[:2], value))
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Round values along the axis with their texts, of as many digits as tell them apart."""
        values = _log_ticks(self.low, self.high) if self.is_log else _linear_ticks(self.low, self.high, most)
        texts: list[str] = []
        for digits in range(3, 10):
            texts = [number_text(value, digits) for value in values]
            if len(set(texts)) == len(texts):
                break
        return list(zip(values, texts, strict=True))


def make_axis(values: Sequence[float], may_be_log: bool = True, limits=(-math.inf, math.inf)) -> Axis:
    """An axis on which all values have room, logarithmic where they span more than a factor of 8.

    Args:
        values: Finite; at least one.
        may_be_log: Whether it can be logarithmic.
        limits: What the axis never passes.
    """
    low, high = min(values), max(values)
    if may_be_log and low > 0 and high / low > 8:
        return Axis(low / 1.25, high * 1.25, True)
    room = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
    return Axis(max(limits[0], low - room), min(limits[1], high + room))


def number_text(value: float, digits: int = 3) -> str:
    """A number of a tick or a mark: no more digits than it needs, and never an exponent below a billion."""
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = (step * 10.0**decade for decade in decades for step in steps)
    return [tick for tick in ticks if low <= tick <= high]


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    raw = (high - low) / most
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if magnitude * factor >= raw)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
