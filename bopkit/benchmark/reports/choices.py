"""Which artifact to ship on which device: the Pareto front of each, and by what the others are beaten."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import PurePath

import numpy as np

from bopkit.benchmark.reports.baseline import median_ratio_interval
from bopkit.benchmark.reports.table import Line
from bopkit.benchmark.results import BenchmarkRow
from bopkit.text import size_text, threads_text

WITHIN = " (within the 95 % interval)"
"""The accuracies may differ by chance: other pictures of the same kind may turn them round."""

NOISE = " (within the noise)"
"""The latencies may differ by chance: the 95 % interval of their ratio contains 1."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A line among those of its device and dataset.

    Attributes:
        number: Of the line in the table, from 1.
        line: The line.
        beaten_by: Number of the line that is at least as good in both figures and better in one; None on the front.
        reason: What the front or that line means, in words.
        is_tie: Whether all by which that line is better may be chance.
    """

    number: int
    line: Line
    beaten_by: int | None
    reason: str
    is_tie: bool = False


def goodness(line: Line, by_accuracy: bool) -> tuple[float, float] | None:
    """Two figures of a line, more of each better: speed, and top-1 or smallness; None where one was not measured."""
    row = line.entry.row
    other = row.top1 if by_accuracy else row.size_bytes
    if row.error is not None or not row.latency_ms_p50 or row.latency_ms_p50 < 0 or other is None:
        return None
    return -row.latency_ms_p50, other if by_accuracy else -other


def has_accuracy(lines: Sequence[Line]) -> bool:
    """Whether lines compete by accuracy, else by size.

    By size where no accuracy was measured, and among variants of networks, most of which have none.
    """
    return not any(line.entry.row.variant for line in lines) and any(goodness(line, by_accuracy=True) for line in lines)


def groups(lines: Sequence[Line]) -> dict[tuple[str, str], list[tuple[int, Line]]]:
    """The lines with their numbers, by device and what can be compared there.

    Accuracy on one dataset says nothing about another. Without accuracy, the variants of a network compete with each
    other only: that a small network is faster than a large one is no news.
    """
    found: dict[tuple[str, str], list[tuple[int, Line]]] = {}
    by_accuracy = has_accuracy(lines)
    for number, line in enumerate(lines, start=1):
        if goodness(line, by_accuracy) is not None:
            name = line.entry.newest.pictures_text if by_accuracy else network_of(line)
            found.setdefault((line.device, name), []).append((number, line))
    return found


def network_of(line: Line) -> str:
    """What a line is a variant of; empty for an artifact by itself."""
    row = line.entry.row
    return row.artifact.removesuffix(f" ({row.variant})") if row.variant else ""


def choose(lines: Sequence[Line]) -> dict[tuple[str, str], list[Choice]]:
    """The choices on each device, the fastest first.

    Args:
        lines: Of the table.

    Returns:
        By device and dataset; without accuracy by device and network, empty where rows name no variants. Lines without
        both figures are left out.
    """
    by_accuracy = has_accuracy(lines)
    return {name: _choices(members, by_accuracy) for name, members in groups(lines).items()}


def on_front(lines: Sequence[Line]) -> set[int]:
    """Numbers of the lines that are beaten by none of their device and dataset."""
    by_accuracy = has_accuracy(lines)
    return {
        number
        for members in groups(lines).values()
        for number, better in _beaten(_figures_of(members, by_accuracy)).items()
        if better is None
    }


def short_names(lines: Sequence[Line]) -> list[str]:
    """Names for charts: the file's where that is enough, with threads where they differ."""
    artifacts = {line.entry.row.artifact for line in lines}
    names = {artifact: PurePath(artifact).name or artifact for artifact in artifacts}
    if len(set(names.values())) < len(artifacts):
        names = {artifact: artifact for artifact in artifacts}
    threads = {line.entry.row.threads for line in lines if line.entry.row.error is None}
    runtimes = {(line.entry.row.artifact, line.entry.row.runtime) for line in lines if line.entry.row.runtime}
    texts = []
    for line in lines:
        row = line.entry.row
        more = [threads_text(row.threads)] if len(threads) > 1 and row.threads is not None else []
        if sum(artifact == row.artifact for artifact, _ in runtimes) > 1:
            more.append(row.runtime)
        texts.append(", ".join([names[row.artifact], *more]))
    return texts


def _choices(members: Sequence[tuple[int, Line]], by_accuracy: bool) -> list[Choice]:
    figures = _figures_of(members, by_accuracy)
    beaten = _beaten(figures)
    lines = dict(members)
    fastest_first = sorted(lines, key=lambda number: (-figures[number][0], -figures[number][1]))
    front = [number for number in fastest_first if beaten[number] is None]
    choices = []
    for number in fastest_first:
        better = beaten[number]
        if better is None:
            choices.append(Choice(number, lines[number], None, _front_text(front, number, lines, by_accuracy)))
        else:
            reason, is_tie = _beaten_text(lines[number].entry.row, lines[better].entry.row, by_accuracy)
            choices.append(Choice(number, lines[number], better, reason, is_tie))
    return choices


def _figures_of(members: Sequence[tuple[int, Line]], by_accuracy: bool) -> dict[int, tuple[float, float]]:
    return {number: goodness(line, by_accuracy) or (0.0, 0.0) for number, line in members}


def _beaten(figures: Mapping[int, tuple[float, float]]) -> dict[int, int | None]:
    """Of each number the one that it is beaten by; None on the front."""
    return {number: _best_above(number, figures) for number in figures}


def _best_above(number: int, figures: Mapping[int, tuple[float, float]]) -> int | None:
    own = figures[number]
    above = [other for other, each in figures.items() if each != own and each[0] >= own[0] and each[1] >= own[1]]
    return max(above, key=lambda other: figures[other][::-1], default=None)


def _front_text(front: Sequence[int], number: int, lines: Mapping[int, Line], by_accuracy: bool) -> str:
    """What one pays and gets from the next faster one of the front on."""
    place, row = front.index(number), lines[number].entry.row
    best = "the most accurate" if by_accuracy else "the smallest"
    if len(front) == 1:
        return f"the fastest and {best}"
    if place == 0:
        return "the fastest"
    faster = lines[front[place - 1]].entry.row
    assert row.latency_ms_p50 and faster.latency_ms_p50
    if (row.latency_ms_p50, row.top1, row.size_bytes) == (faster.latency_ms_p50, faster.top1, faster.size_bytes):
        return f"the same as {front[place - 1]}"
    time = f"for {_ratio_text(row, faster)} the time of {front[place - 1]}"
    time += NOISE if is_latency_noise(row, faster) else ""
    prefix = f"{best}, " if place == len(front) - 1 else ""
    if not by_accuracy:
        assert row.size_bytes is not None and faster.size_bytes is not None
        return f"{prefix}{size_text(faster.size_bytes - row.size_bytes)} less {time}"
    assert row.top1 is not None and faster.top1 is not None
    is_noise = faster.top1_interval is not None and faster.top1_interval[1] > row.top1
    return f"{prefix}{100 * (row.top1 - faster.top1):.2f} points more {time}" + (WITHIN if is_noise else "")


def _beaten_text(row: BenchmarkRow, better: BenchmarkRow, by_accuracy: bool) -> tuple[str, bool]:
    """By what a row is beaten, and whether all of that may be chance."""
    is_as_fast = row.latency_ms_p50 == better.latency_ms_p50
    is_noise = is_as_fast or is_latency_noise(row, better)
    if is_noise:
        speed = "as fast" if is_as_fast else "as fast within the noise"
    else:
        speed = f"{_ratio_text(row, better)} as fast"
    if not by_accuracy:
        return f"{speed} and {_size_text(row, better)}", is_noise and row.size_bytes == better.size_bytes
    assert row.top1 is not None and better.top1 is not None
    if row.top1 == better.top1:
        return f"{speed} and as accurate", is_noise
    is_chance = row.top1_interval is not None and row.top1_interval[1] > better.top1
    points = f"{100 * (better.top1 - row.top1):.2f} points more accurate" + (WITHIN if is_chance else "")
    return f"{speed} and {points}", is_noise and is_chance


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


def is_latency_noise(slower: BenchmarkRow, faster: BenchmarkRow) -> bool:
    """Whether two medians may differ by chance: their samples' 95 % interval of the ratio contains 1.

    Nothing is noise where there are no samples to tell it by.
    """
    if not slower.samples_ms or not faster.samples_ms:
        return False
    if np.percentile(slower.samples_ms, 10) > np.percentile(faster.samples_ms, 90):
        return False  # far apart: spares most pairs the resampling
    interval = median_ratio_interval(slower.samples_ms, faster.samples_ms)
    return interval is not None and interval[0] <= 1 <= interval[1]
