"""The table of a report as text, for the terminal, for Markdown and for the page."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence

from bopkit.benchmark.reports.baseline import Change
from bopkit.benchmark.reports.merging import Entry, MergedReport, device_labels
from bopkit.benchmark.results import BenchmarkReport
from bopkit.errors import UsageError
from bopkit.host import parse_cpu_mask
from bopkit.text import change_text, ms_text, percent_text, size_text

FAILED = "failed"
"""What stands in place of the first figure of a row without any."""


@dataclasses.dataclass(frozen=True)
class Line:
    """What one line of the table is made of.

    Attributes:
        entry: The measurement.
        device: What to call its device.
        change: Against the baseline; None without one.
    """

    entry: Entry
    device: str
    change: Change | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        heading: What stands above it.
        cell: Text of a line.
        is_number: Whether it is aligned to the right.
        is_needed: Whether the lines differ enough for it to say something; None for always.
    """

    heading: str
    cell: Callable[[Line], str]
    is_number: bool = True
    is_needed: Callable[[Sequence[Line]], bool] | None = None


def lines_of(merged: MergedReport, changes: Sequence[Change | None] | None = None) -> list[Line]:
    """The lines of a report's table.

    Args:
        merged: The report.
        changes: Of each of its entries, against a baseline; None without one.
    """
    labels = device_labels([entry.newest for entry in merged.entries])
    changes = changes or [None] * len(labels)
    return [Line(*each) for each in zip(merged.entries, labels, changes, strict=True)]


def picture_sets(lines: Iterable[Line], *, of_earlier: bool = False) -> set[str]:
    """What accuracies were measured on: where it is more than one set of pictures, each accuracy has to say on which.

    Args:
        lines: Of the table.
        of_earlier: Whether to count those of earlier measurements too.
    """
    return {
        measurement.pictures_text
        for line in lines
        for measurement in (line.entry.newest, *(line.entry.earlier if of_earlier else ()))
        if measurement.pictures_text
    }


def columns_for(lines: Sequence[Line]) -> list[Column]:
    """The columns that say something about these lines; the same for every writer."""
    return [column for column in _COLUMNS if column.is_needed is None or column.is_needed(lines)]


def cells(columns: Iterable[Column], line: Line) -> list[str]:
    """The texts of a line; a row that failed has only what it was to be."""
    if line.entry.row.error is None:
        return [column.cell(line) for column in columns]
    texts = []
    for column in columns:
        is_known = column.heading in _KNOWN_BEFORE
        texts.append(column.cell(line) if is_known else "" if FAILED in texts else FAILED)
    return texts


def cores_text(cpu_mask: str | None) -> str:
    """The cores of a mask by their numbers: `1`, `4-7`, `0, 2-3`; `all` without one.

    Args:
        cpu_mask: Hexadecimal, as `taskset` takes it; what is no mask is named as it is.
    """
    if cpu_mask is None:
        return "all"
    try:
        cores = sorted(parse_cpu_mask(cpu_mask))
    except UsageError:  # a file may hold anything
        return f"mask {cpu_mask}"
    neighbours = itertools.groupby(enumerate(cores), lambda each: each[1] - each[0])
    runs = [[core for _, core in group] for _, group in neighbours]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def on_cores_text(cpu_mask: str) -> str:
    """`on core 1`, `on cores 4-7`."""
    text = cores_text(cpu_mask)
    if text.startswith("mask"):
        return f"with CPU {text}"
    return f"on core{'' if text.isdecimal() else 's'} {text}"


def conditions(merged: MergedReport) -> list[str]:
    """How the figures were measured, one sentence a result."""
    return list(dict.fromkeys(text for _, report in merged.sources for text in _conditions_of(report)))


def _conditions_of(report: BenchmarkReport) -> list[str]:
    texts = []
    pictures = next((row.pictures for row in report.rows if row.pictures), None)
    if pictures:
        agreement = f"; agreement: same top-1 as {report.reference}" if has_agreement(report) else ""
        texts.append(f"accuracy on {pictures} pictures of {report.dataset} {report.split}{agreement}")
    timing, threads = report.protocol.timing, ", ".join(map(str, report.protocol.threads))
    where = "; ".join(
        f"{environment.cpu}, {environment.logical_cores} cores" + ("" if name == "local" else f" ({name})")
        for name, environment in report.environments.items()
    )
    pinned = f" {on_cores_text(timing.cpu_mask)}" if timing.cpu_mask else ""
    texts.append(
        f"latency of one picture, {threads} thread(s){pinned}, {timing.warmup_runs} warm-up runs, then at least "
        f"{timing.runs} and {timing.min_duration_s:g} s (at most {timing.time_limit_s:g} s); "
        f"{where or 'no device answered'}"
    )
    return texts


def has_agreement(report: BenchmarkReport) -> bool:
    """Whether any of its rows was compared with the reference."""
    return bool(report.reference) and any(row.top1_agreement is not None for row in report.rows)


def over_floor(line: Line) -> float | None:
    """Size over the floor of one bit a binary weight and 32 bits any other."""
    row = line.entry.row
    return row.size_bytes / row.floor_bytes if row.size_bytes and row.floor_bytes else None


def _differ(figure: Callable[[Line], object]) -> Callable[[Sequence[Line]], bool]:
    return lambda lines: len({figure(line) for line in lines}) > 1


def _any(figure: Callable[[Line], object]) -> Callable[[Sequence[Line]], bool]:
    return lambda lines: any(map(figure, lines))


def _over_floor_text(line: Line) -> str:
    ratio = over_floor(line)
    return "-" if ratio is None else f"{ratio:.2f}"


def _latency_change(line: Line) -> str:
    change = line.change
    if change is None or change.latency_ratio is None:
        return "-"
    noise = {True: "", False: " (noise)", None: " (?)"}[change.is_beyond_noise]
    return change_text(change.latency_ratio) + noise


def _points(difference: float | None) -> str:
    return "-" if difference is None else f"{100 * difference:+.2f}"


_HAS_ACCURACY = _any(lambda line: line.entry.row.pictures)

_COLUMNS = (
    Column("artifact", lambda line: line.entry.row.artifact, is_number=False),
    Column("device", lambda line: line.device, False, _any(lambda line: line.device != "local")),
    Column(
        "threads",
        lambda line: "-" if line.entry.row.threads is None else str(line.entry.row.threads),
        is_needed=_differ(lambda line: line.entry.row.threads if line.entry.row.error is None else 1),
    ),
    Column("runtime", lambda line: line.entry.row.runtime, is_number=False),
    Column(
        "cores",
        lambda line: cores_text(line.entry.newest.cpu_mask),
        False,
        _differ(lambda line: line.entry.newest.cpu_mask),
    ),
    Column(
        "accuracy on",
        lambda line: line.entry.newest.pictures_text or "-",
        False,
        lambda lines: len(picture_sets(lines)) > 1,
    ),
    Column("top-1", lambda line: percent_text(line.entry.row.top1), is_needed=_HAS_ACCURACY),
    Column("top-5", lambda line: percent_text(line.entry.row.top5), is_needed=_HAS_ACCURACY),
    Column(
        "agreement",
        lambda line: percent_text(line.entry.row.top1_agreement),
        is_needed=_any(lambda line: line.entry.row.top1_agreement is not None),
    ),
    Column("size", lambda line: size_text(line.entry.row.size_bytes)),
    Column("x floor", _over_floor_text, is_needed=_any(over_floor)),
    Column("p50 ms", lambda line: ms_text(line.entry.row.latency_ms_p50)),
    Column("p90 ms", lambda line: ms_text(line.entry.row.latency_ms_p90)),
    Column("p99 ms", lambda line: ms_text(line.entry.row.latency_ms_p99)),
    Column("memory", lambda line: size_text(line.entry.row.peak_memory_bytes)),
    Column(
        "measured",
        lambda line: (
            f"{line.entry.newest.date:%Y-%m-%d}"
            + (f" (+{len(line.entry.earlier)} earlier)" if line.entry.earlier else "")
        ),
        False,
        lambda lines: (
            _differ(lambda line: line.entry.newest.date.date())(lines) or _any(lambda line: line.entry.earlier)(lines)
        ),
    ),
    Column("p50 change", _latency_change, is_needed=_any(lambda line: line.change)),
    Column(
        "size change",
        lambda line: change_text(None if line.change is None else line.change.size_ratio),
        is_needed=_any(lambda line: line.change),
    ),
    Column(
        "top-1 change",
        lambda line: _points(None if line.change is None else line.change.top1_difference),
        is_needed=_any(lambda line: line.change is not None and line.change.top1_difference is not None),
    ),
)

_KNOWN_BEFORE = frozenset({"artifact", "device", "threads", "runtime", "cores", "measured"})
"""Columns that a row has which could not be measured; the first of the others says so."""
