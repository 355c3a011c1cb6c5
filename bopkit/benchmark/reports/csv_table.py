"""A report as CSV (RFC 4180): every figure of every row that is one value, in columns that keep their order."""

from __future__ import annotations

import csv
import dataclasses
import io
import types
import typing
from typing import Any

from bopkit.benchmark.reports.lines import BaselineChange
from bopkit.benchmark.reports.merging import MergedReport
from bopkit.benchmark.results import BenchmarkRow
from bopkit.text import printable

_ROW_COLUMNS = ("date", "source", "cpu", "dataset", "split", "earlier_measurements", "cpu_mask", "notes")
_CHANGE_COLUMNS = (
    *("baseline_date", "latency_ratio", "latency_ratio_low", "latency_ratio_high", "size_ratio", "top1_difference"),
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_columns() -> list[str]:
    """The headings: first the figures of a row in its order, intervals as two, then where it comes from."""
    figures = [column for field in _scalar_fields() for column in _columns_of(field)]
    return [*figures, *_ROW_COLUMNS, *_CHANGE_COLUMNS]


def csv_table(merged: MergedReport) -> str:
    """The table, older measurements included, behind the one that they are older than.

    A text that a spreadsheet would take for a formula begins with an apostrophe; what was not measured is empty.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(csv_columns())
    for line in merged.lines:
        for measurement in (line, *line.earlier):
            is_newest = measurement is line
            figures = [value for field in _scalar_fields() for value in _values(measurement.row, field)]
            environment = measurement.environment
            origin = (
                *(measurement.report.protocol.date, measurement.source, environment.cpu if environment else None),
                *(measurement.accuracy_report.dataset, measurement.accuracy_report.split),
                len(line.earlier) if is_newest else None,
                measurement.cpu_mask,
                " ".join(measurement.row.notes) or None,
            )
            writer.writerow(map(_cell, (*figures, *origin, *_change_values(line.change if is_newest else None))))
    return out.getvalue()


def _scalar_fields() -> list[str]:
    """Figures of one value, intervals and shapes among them; lists and tables have no place in a cell."""
    hints = typing.get_type_hints(BenchmarkRow)
    return [field.name for field in dataclasses.fields(BenchmarkRow) if not _holds_many(hints[field.name])]


def _holds_many(hint: Any) -> bool:
    members = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return any(typing.get_origin(member) in (list, dict) for member in members)


def _columns_of(field: str) -> list[str]:
    if not field.endswith("_interval"):
        return [field]
    name = field.removesuffix("_interval")
    return [f"{name}_low", f"{name}_high"]


def _values(row: BenchmarkRow, field: str) -> list[Any]:
    value = getattr(row, field)
    if field.endswith("_interval"):
        return list(value or (None, None))
    return ["x".join(map(str, value)) if isinstance(value, tuple) else value]


def _change_values(change: BaselineChange | None) -> list[Any]:
    if change is None:
        return [None] * len(_CHANGE_COLUMNS)
    low, high = change.latency_ratio_interval or (None, None)
    date = change.baseline.report.protocol.date
    return [date, change.latency_ratio, low, high, change.size_ratio, change.top1_difference]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return printable(f"'{value}" if value.startswith(_FORMULA_STARTS) else value)
    if isinstance(value, bool):
        return str(value).lower()
    # Nine digits are more than any clock measures; whole numbers keep all of theirs.
    return f"{value:.9g}" if isinstance(value, float) and not value.is_integer() else str(int(value))
