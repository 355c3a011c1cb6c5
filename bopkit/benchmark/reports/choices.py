"""Which artifact to ship on which device: the Pareto front of each, and by what the others are beaten."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import PurePath

from bopkit.benchmark.reports.table import Line
from bopkit.text import percent_text, size_text


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
    """Whether any line has both latency and accuracy: else size takes its place."""
    return any(goodness(line, by_accuracy=True) for line in lines)


def groups(lines: Sequence[Line]) -> dict[tuple[str, str], list[tuple[int, Line]]]:
    """The lines with their numbers by device and dataset: accuracy on one says nothing about another."""
    found: dict[tuple[str, str], list[tuple[int, Line]]] = {}
    by_accuracy = has_accuracy(lines)
    for number, line in enumerate(lines, start=1):
        if goodness(line, by_accuracy) is not None:
            report = line.entry.newest.report
            dataset = f"{report.dataset} {report.split}" if by_accuracy else ""
            found.setdefault((line.device, dataset), []).append((number, line))
    return found


def choose(lines: Sequence[Line]) -> dict[tuple[str, str], list[Choice]]:
    """The choices on each device, the fastest first.

    Args:
        lines: Of the table.

    Returns:
        By device and dataset (empty without accuracy). Lines without both figures are left out.
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
        more = [f"{row.threads} threads"] if len(threads) > 1 and row.threads is not None else []
        if sum(artifact == row.artifact for artifact, _ in runtimes) > 1:
            more.append(row.runtime)
        texts.append(", ".join([names[row.artifact], *more]))
    return texts


def _choices(members: Sequence[tuple[int, Line]], by_accuracy: bool) -> list[Choice]:
    figures = {number: goodness(line, by_accuracy) for number, line in members}
    beaten = {number: _best_above(number, figures) for number, _ in members}
    choices = [
        Choice(number, line, beaten[number], _reason(line, dict(members).get(beaten[number] or 0), by_accuracy))
        for number, line in members
    ]
    return sorted(choices, key=lambda each: each.line.entry.row.latency_ms_p50 or 0.0)


def _best_above(number: int, figures: dict) -> int | None:  # type: ignore[type-arg]
    own = figures[number]
    above = [
        other for other, each in figures.items() if each != own and all(a >= b for a, b in zip(each, own, strict=True))
    ]
    return max(above, key=lambda other: figures[other], default=None)


def _reason(line: Line, better: Line | None, by_accuracy: bool) -> str:
    row = line.entry.row
    if better is None:
        return f"nothing that is as fast is {'more accurate' if by_accuracy else 'smaller'}"
    other = better.entry.row
    assert row.latency_ms_p50 and other.latency_ms_p50
    faster = f"{row.latency_ms_p50 / other.latency_ms_p50:.2f} x as fast"
    if not by_accuracy:
        return f"{faster} and {size_text(other.size_bytes)} instead of {size_text(row.size_bytes)}"
    assert row.top1 is not None and other.top1 is not None
    text = f"{faster} at {percent_text(other.top1)} top-1 instead of {percent_text(row.top1)}"
    if row.top1_interval and row.top1_interval[1] > other.top1:
        text += " (within its interval)"
    return text
