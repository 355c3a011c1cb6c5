"""Which artifact to ship on which device: the Pareto front of each, and by what the others are beaten."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from bopkit.benchmark.reports.table import Line
from bopkit.text import size_text, threads_text

WITHIN = " (within the 95 % interval)"
"""The accuracies may differ by chance: other pictures of the same kind may turn them round."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A line among those of its device and dataset.

    Attributes:
        number: Of the line in the table, from 1.
        line: The line.
        beaten_by: Number of the line that is at least as good in both figures and better in one; None on the front.
        reason: What the front or that line means, in words.
    """

    number: int
    line: Line
    beaten_by: int | None
    reason: str


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
            report = line.entry.newest.report
            pictures = f"{report.dataset} {report.split}, {line.entry.row.pictures} pictures"
            name = pictures if by_accuracy else network_of(line)
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
    figures = {number: goodness(line, by_accuracy) or (0.0, 0.0) for number, line in members}
    beaten = {number: _best_above(number, figures) for number, _ in members}
    lines = dict(members)
    fastest_first = sorted(lines, key=lambda number: (-figures[number][0], -figures[number][1]))
    front = [number for number in fastest_first if beaten[number] is None]
    choices = []
    for number in fastest_first:
        better = beaten[number]
        if better is not None:
            reason = _beaten_text(lines[number], lines[better], by_accuracy)
        else:
            reason = _front_text(front, number, lines, by_accuracy)
        choices.append(Choice(number, lines[number], better, reason))
    return choices


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
    time = f"for {row.latency_ms_p50 / faster.latency_ms_p50:.2f} x the time of {front[place - 1]}"
    prefix = f"{best}, " if place == len(front) - 1 else ""
    if not by_accuracy:
        assert row.size_bytes is not None and faster.size_bytes is not None
        return f"{prefix}{size_text(faster.size_bytes - row.size_bytes)} less {time}"
    assert row.top1 is not None and faster.top1 is not None
    is_noise = faster.top1_interval is not None and faster.top1_interval[1] > row.top1
    return f"{prefix}{100 * (row.top1 - faster.top1):.2f} points more {time}" + (WITHIN if is_noise else "")


def _beaten_text(line: Line, better: Line, by_accuracy: bool) -> str:
    row, other = line.entry.row, better.entry.row
    assert row.latency_ms_p50 and other.latency_ms_p50
    faster = f"{row.latency_ms_p50 / other.latency_ms_p50:.2f} x as fast"
    if not by_accuracy:
        return f"{faster} and {size_text(other.size_bytes)} instead of {size_text(row.size_bytes)}"
    assert row.top1 is not None and other.top1 is not None
    if row.top1 == other.top1:
        return f"{faster} and as accurate"
    is_noise = row.top1_interval is not None and row.top1_interval[1] > other.top1
    return f"{faster} and {100 * (other.top1 - row.top1):.2f} points more accurate" + (WITHIN if is_noise else "")
