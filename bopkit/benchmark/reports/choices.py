"""Which artifact to ship on which device: the Pareto front of each, and what beats the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from bopkit.benchmark.reports.lines import Line
from bopkit.benchmark.reports.noise import may_be_as_fast
from bopkit.benchmark.results import BenchmarkRow
from bopkit.text import ms_text, percent_text, size_text

WITHIN = " (within the 95 % interval)"
"""The accuracies may differ by chance: other pictures of the same kind may turn them round."""

NOISE = " (within the noise)"
"""The latencies may differ by chance: the 95 % interval of their ratio contains 1."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A line among those of its device and dataset.

    Attributes:
        line: The line.
        beaten_by: The line that is at least as good in both figures and better in one; None on the front.
        reason: What the front or that line means, in words.
        is_tie: Whether all by which that line is better may be chance, or is too little to be shown.
    """

    line: Line
    beaten_by: Line | None
    reason: str
    is_tie: bool = False


def has_accuracy(lines: Sequence[Line]) -> bool:
    """Whether lines compete by accuracy, else by size.

    By size where no accuracy was measured, and among variants of networks, most of which have none.
    """
    return not any(line.row.variant for line in lines) and any(_goodness(line, by_accuracy=True) for line in lines)


def choose(lines: Sequence[Line]) -> dict[tuple[str, str], list[Choice]]:
    """The choices on each device, the fastest first.

    Accuracy on one dataset says nothing about another. Without accuracy, the variants of a network compete with each
    other only: that a small network is faster than a large one is no news.

    Args:
        lines: Of the table.

    Returns:
        By device and dataset; without accuracy by device and network, empty where rows name no variants. Lines without
        both figures are left out.
    """
    by_accuracy = has_accuracy(lines)
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if _goodness(line, by_accuracy) is not None:
            name = line.pictures_text if by_accuracy else _network_of(line)
            groups.setdefault((line.device_label, name), []).append(line)
    return {name: _choices(members, by_accuracy) for name, members in groups.items()}


def _goodness(line: Line, by_accuracy: bool) -> tuple[float, float] | None:
    """Two figures of a line, more of each better: speed, and top-1 or smallness; None where one was not measured."""
    row = line.row
    other = row.top1 if by_accuracy else row.size_bytes
    if row.error is not None or not row.latency_ms_p50 or row.latency_ms_p50 < 0 or other is None:
        return None
    return -row.latency_ms_p50, other if by_accuracy else -other


def _network_of(line: Line) -> str:
    """What a line is a variant of; empty for an artifact by itself."""
    row = line.row
    return row.artifact.removesuffix(f" ({row.variant})") if row.variant else ""


def _choices(members: Sequence[Line], by_accuracy: bool) -> list[Choice]:
    goodness = {line.number: _goodness(line, by_accuracy) or (0.0, 0.0) for line in members}
    fastest_first = sorted(members, key=lambda line: goodness[line.number], reverse=True)
    better = {line.number: _best_above(line, members, goodness) for line in members}
    front = [line for line in fastest_first if better[line.number] is None]
    choices = []
    for line in fastest_first:
        winner = better[line.number]
        if winner is None:
            equals = [each for each in front if goodness[each.number] == goodness[line.number]]
            faster = [each for each in front if goodness[each.number][0] > goodness[line.number][0]]
            reason = _front_text(line, faster[-1] if faster else None, equals[-1] is front[-1], by_accuracy)
            if others := [str(each.number) for each in equals if each is not line]:
                reason += f"; a tie with {', '.join(others)}"
            choices.append(Choice(line, None, reason))
        else:
            reason, is_tie = _beaten_text(line.row, winner.row, by_accuracy)
            choices.append(Choice(line, winner, reason, is_tie))
    return choices


def _best_above(line: Line, members: Sequence[Line], goodness: Mapping[int, tuple[float, float]]) -> Line | None:
    """The line that this one is beaten by, of several the best in the second figure; None on the front."""
    own = goodness[line.number]
    at_least = [each for each in members if all(a >= b for a, b in zip(goodness[each.number], own, strict=True))]
    above = [each for each in at_least if goodness[each.number] != own]
    return max(above, key=lambda each: goodness[each.number][::-1], default=None)


def _front_text(line: Line, next_faster: Line | None, is_best: bool, by_accuracy: bool) -> str:
    """What one pays and gets on the front.

    Args:
        line: On the front.
        next_faster: The slowest line of the front that is faster; None for the fastest.
        is_best: Whether no line is better in the second figure.
        by_accuracy: Whether that is accuracy, or size.
    """
    best = "the most accurate" if by_accuracy else "the smallest"
    if next_faster is None:
        return f"the fastest and {best}" if is_best else "the fastest"
    row, faster = line.row, next_faster.row
    time = f"for {_ratio_text(row, faster)} the time of {next_faster.number}"
    time += NOISE if may_be_as_fast(row, faster) else ""
    prefix = f"{best}, " if is_best else ""
    if not by_accuracy:
        assert row.size_bytes is not None and faster.size_bytes is not None
        return f"{prefix}{size_text(faster.size_bytes - row.size_bytes)} less {time}"
    assert row.top1 is not None and faster.top1 is not None
    is_noise = faster.top1_interval is not None and faster.top1_interval[1] > row.top1
    return f"{prefix}{100 * (row.top1 - faster.top1):.2f} points more {time}" + (WITHIN if is_noise else "")


def _beaten_text(row: BenchmarkRow, better: BenchmarkRow, by_accuracy: bool) -> tuple[str, bool]:
    """By what a row is beaten, and whether all of that may be chance, or is less than what is shown of the figures."""
    is_as_fast = ms_text(row.latency_ms_p50) == ms_text(better.latency_ms_p50)
    is_noise = may_be_as_fast(row, better)
    if row.latency_ms_p50 != better.latency_ms_p50 and is_noise:
        speed = "as fast within the noise"
    else:
        speed = "as fast" if is_as_fast else f"{_ratio_text(row, better)} as fast"
    is_even = is_as_fast or is_noise
    if not by_accuracy:
        is_same_size = size_text(row.size_bytes) == size_text(better.size_bytes)
        return f"{speed} and {_size_text(row, better)}", is_even and is_same_size
    assert row.top1 is not None and better.top1 is not None
    if percent_text(row.top1) == percent_text(better.top1):
        return f"{speed} and as accurate", is_even
    is_chance = row.top1_interval is not None and row.top1_interval[1] > better.top1
    points = f"{100 * (better.top1 - row.top1):.2f} points more accurate" + (WITHIN if is_chance else "")
    return f"{speed} and {points}", is_even and is_chance


def _size_text(row: BenchmarkRow, better: BenchmarkRow) -> str:
    if row.size_bytes == better.size_bytes:
        return "of the same size"
    size, other = size_text(better.size_bytes), size_text(row.size_bytes)
    return "of nearly the same size" if size == other else f"{size} instead of {other}"


def _ratio_text(slower: BenchmarkRow, faster: BenchmarkRow) -> str:
    """How many times as long the slower one takes: `1.39 x`."""
    assert slower.latency_ms_p50 and faster.latency_ms_p50
    ratio = slower.latency_ms_p50 / faster.latency_ms_p50
    return f"{ratio:.2f} x" if ratio >= 1.005 else "under 1.01 x"
