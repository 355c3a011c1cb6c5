"""The table of a report as text, for the terminal, for Markdown and for the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from bopkit.benchmark.reports.labels import cores_text
from bopkit.benchmark.reports.lines import Line, have_several_picture_sets
from bopkit.text import change_text, ms_text, percent_text, size_text

FAILED = "failed"
"""What stands in place of the first figure of a row without any."""


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


def columns_for(lines: Sequence[Line]) -> list[Column]:
    """The columns that say something about these lines; the same for every writer."""
    return [column for column in _COLUMNS if column.is_needed is None or column.is_needed(lines)]


def cells(columns: Iterable[Column], line: Line) -> list[str]:
    """The texts of a line; a row that failed has only what it was to be."""
    if line.row.error is None:
        return [column.cell(line) for column in columns]
    texts = []
    for column in columns:
        is_known = column.heading in _KNOWN_BEFORE
        texts.append(column.cell(line) if is_known else "" if FAILED in texts else FAILED)
    return texts


def _differ(figure: Callable[[Line], object]) -> Callable[[Sequence[Line]], bool]:
    return lambda lines: len({figure(line) for line in lines}) > 1


def _any(figure: Callable[[Line], object]) -> Callable[[Sequence[Line]], bool]:
    return lambda lines: any(map(figure, lines))


def _has(figure: str) -> Callable[[Sequence[Line]], bool]:
    """Whether a row has it, or failed where it is measured, so that a table of failures looks like any other."""
    return _any(
        lambda line: getattr(line.row, figure) is not None or (line.row.error is not None and not line.row.is_emulated)
    )


def _has_any(figure: str) -> Callable[[Sequence[Line]], bool]:
    """Whether a row has it."""
    return _any(lambda line: getattr(line.row, figure) is not None)


def _lacks(figure: str, substitute: str) -> Callable[[Sequence[Line]], bool]:
    """Whether a row has only a figure that is shown in place of another: some binaries print no more."""
    return _any(lambda line: getattr(line.row, figure) is None and getattr(line.row, substitute) is not None)


def _over_floor_text(line: Line) -> str:
    return "-" if line.over_floor is None else f"{line.over_floor:.2f}"


def _latency_change(line: Line) -> str:
    change = line.change
    if change is None or change.latency_ratio is None:
        return "-"
    noise = {True: "", False: " (noise)", None: " (?)"}[change.is_beyond_noise]
    return change_text(change.latency_ratio) + noise


def _count_text(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _points(difference: float | None) -> str:
    return "-" if difference is None else f"{100 * difference:+.2f}"


_MEDIAN_OR_MEAN = ("latency_ms_p50", "latency_ms_mean")
_PEAK_OR_MODEL_MEMORY = ("peak_memory_bytes", "model_memory_bytes")
_HAS_ACCURACY = _any(lambda line: line.row.pictures)

_COLUMNS = (
    Column("artifact", lambda line: line.row.artifact, is_number=False),
    Column("device", lambda line: line.device_label, False, _any(lambda line: line.device_label != "local")),
    Column(
        "threads",
        lambda line: "-" if line.row.threads is None else str(line.row.threads),
        is_needed=_differ(lambda line: line.row.threads if line.row.error is None else 1),
    ),
    Column("runtime", lambda line: line.row.runtime, is_number=False),
    Column(
        "cores",
        lambda line: cores_text(line.cpu_mask),
        False,
        _differ(lambda line: line.cpu_mask),
    ),
    Column(
        "accuracy on",
        lambda line: line.pictures_text or "-",
        False,
        have_several_picture_sets,
    ),
    Column("top-1", lambda line: percent_text(line.row.top1), is_needed=_HAS_ACCURACY),
    Column("top-5", lambda line: percent_text(line.row.top5), is_needed=_HAS_ACCURACY),
    Column(
        "agreement",
        lambda line: percent_text(line.row.top1_agreement),
        is_needed=_any(lambda line: line.row.top1_agreement is not None),
    ),
    Column("size", lambda line: size_text(line.row.size_bytes)),
    Column("x floor", _over_floor_text, is_needed=_any(lambda line: line.over_floor)),
    Column("instructions", lambda line: _count_text(line.row.instructions), is_needed=_has_any("instructions")),
    Column("flash", lambda line: size_text(line.row.flash_bytes), is_needed=_has_any("flash_bytes")),
    Column("RAM", lambda line: size_text(line.row.ram_bytes), is_needed=_has_any("ram_bytes")),
    Column("stack", lambda line: size_text(line.row.stack_bytes), is_needed=_has_any("stack_bytes")),
    Column("mean ms", lambda line: ms_text(line.row.latency_ms_mean), is_needed=_lacks(*_MEDIAN_OR_MEAN)),
    Column("p50 ms", lambda line: ms_text(line.row.latency_ms_p50), is_needed=_has("latency_ms_p50")),
    Column("p90 ms", lambda line: ms_text(line.row.latency_ms_p90), is_needed=_has("latency_ms_p90")),
    Column("p99 ms", lambda line: ms_text(line.row.latency_ms_p99), is_needed=_has("latency_ms_p99")),
    Column("memory", lambda line: size_text(line.row.peak_memory_bytes), is_needed=_has("peak_memory_bytes")),
    Column(
        "model memory", lambda line: size_text(line.row.model_memory_bytes), is_needed=_lacks(*_PEAK_OR_MODEL_MEMORY)
    ),
    Column(
        "measured",
        lambda line: f"{line.date:%Y-%m-%d}" + (f" (+{len(line.earlier)} earlier)" if line.earlier else ""),
        False,
        lambda lines: _differ(lambda line: line.date.date())(lines) or _any(lambda line: line.earlier)(lines),
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

IMPORTANT = (
    *("device", "threads", "runtime", "cores", "accuracy on", "top-1", "p50 ms", "mean ms", "instructions"),
    *("flash", "RAM", "stack", "size"),
    *("p50 change", "top-1 change", "size change", "p99 ms", "agreement", "memory", "model memory", "x floor"),
)
"""Headings in the order in which a narrow terminal keeps them, after the artifact: what tells rows apart first."""

_KNOWN_BEFORE = frozenset({"artifact", "device", "threads", "runtime", "cores", "measured"})
"""Columns that a row has which could not be measured; the first of the others says so."""
