"""A report as CSV (RFC 4180): every figure of every row that is one value, in columns that keep their order."""

from __future__ import annotations

import csv
import io
from typing import Any

from bopkit.benchmark.reports.lines import BaselineChange
from bopkit.benchmark.reports.merging import MergedReport
from bopkit.benchmark.results import BenchmarkRow
from bopkit.tabular import record
from bopkit.text import printable

_ROW_COLUMNS = ("date", "source", "cpu", "dataset", "split", "earlier_measurements", "cpu_mask", "notes")
_CHANGE_COLUMNS = (
    *("baseline_date", "latency_ratio", "latency_ratio_low", "latency_ratio_high", "size_ratio", "top1_difference"),
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_columns() -> list[str]:
    """The headings: first the figures of a row in its order, intervals as two, then where it comes from."""
    return [*record(BenchmarkRow("")), *_ROW_COLUMNS, *_CHANGE_COLUMNS]


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
            figures = record(measurement.row).values()
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
