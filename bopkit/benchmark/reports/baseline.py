"""Which line of a baseline each line of a report is compared with, and how they differ."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bopkit.benchmark.reports.lines import BaselineChange, Line
from bopkit.benchmark.reports.noise import median_ratio_interval
from bopkit.benchmark.results import BenchmarkRow


def compare_lines(lines: Sequence[Line], baseline: Sequence[Line]) -> list[BaselineChange | None]:
    """Compare lines with those of a baseline, each with at most one, and no two with the same.

    A line matches one with the same device, threads and runtime, and of these the one with the same path; else with
    the same file name, else with the same SHA-256, else with the same architecture and kind of artifact, as long as
    there is one such only. One that was measured on the same machine comes first.

    Args:
        lines: What was measured.
        baseline: What it is compared with.

    Returns:
        One a line; None where the baseline has no such row.
    """
    partners: dict[int, int] = {}
    for on_machine, identity in itertools.product((True, False), _IDENTITIES):
        waiting = {index: each for index, each in enumerate(lines) if index not in partners}
        free = {index: each for index, each in enumerate(baseline) if index not in partners.values()}
        names = _unique(waiting, identity, on_machine)
        for name, index in _unique(free, identity, on_machine).items():
            if name in names:
                partners[names[name]] = index
    return [_change(line, baseline[partners[index]]) if index in partners else None for index, line in enumerate(lines)]


_IDENTITIES: tuple[Callable[[BenchmarkRow], Any], ...] = (
    lambda row: row.artifact,
    lambda row: Path(row.artifact).name,
    lambda row: row.model_sha256,
    lambda row: (row.architecture, row.kind) if row.architecture else None,
)


def _unique(
    lines: Mapping[int, Line], identity: Callable[[BenchmarkRow], Any], on_machine: bool
) -> dict[tuple[Any, ...], int]:
    """The indices of lines that are the only ones of an identity, by it and by where they were measured."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for index, line in lines.items():
        row, name = line.row, identity(line.row)
        if name is not None:
            place = (row.device, row.threads, row.runtime, line.cpu_mask, line.machine if on_machine else None)
            found.setdefault((name, *place), []).append(index)
    return {name: places[0] for name, places in found.items() if len(places) == 1}


def _change(line: Line, baseline: Line) -> BaselineChange:
    row, old = line.row, baseline.row
    same_machine = line.machine == baseline.machine
    same_pictures = line.pictures == baseline.pictures
    return BaselineChange(
        baseline=baseline,
        same_machine=same_machine,
        same_pictures=same_pictures,
        latency_ratio=_ratio(row.latency_ms_p50, old.latency_ms_p50) if same_machine else None,
        latency_ratio_interval=median_ratio_interval(row.samples_ms, old.samples_ms) if same_machine else None,
        repeat_ratio=_repeat_ratio((line, baseline)) if same_machine else None,
        size_ratio=_ratio(row.size_bytes, old.size_bytes),
        top1_difference=_difference(row.top1, old.top1) if same_pictures else None,
    )


def _repeat_ratio(lines: Iterable[Line]) -> float | None:
    """Largest over smallest p50 of the same artifact: a file that has changed is no repeat."""
    ratios = []
    for line in lines:
        same = [each for each in (line, *line.earlier) if _contents(each.row) == _contents(line.row)]
        times_ms = [each.row.latency_ms_p50 for each in same if each.row.latency_ms_p50]
        if len(times_ms) > 1:
            ratios.append(max(times_ms) / min(times_ms))
    return max(ratios, default=None)


def _contents(row: BenchmarkRow) -> tuple[int | None, str | None]:
    return row.size_bytes, row.model_sha256


def _ratio(value: float | None, baseline: float | None) -> float | None:
    """The ratio of two figures; None where one was not measured, or is no figure to compare with."""
    return value / baseline if value is not None and value > 0 and baseline is not None and baseline > 0 else None


def _difference(value: float | None, baseline: float | None) -> float | None:
    return None if value is None or baseline is None else value - baseline
