"""The table of accuracies with their intervals, which stands below that of a report."""

from __future__ import annotations

from collections.abc import Iterable

from bopkit.benchmark.report import BenchmarkRow
from bopkit.text import percent_text

TEXT_HEADINGS = ("artifact", "accuracy on")
"""Above texts; the second is there only where accuracy was measured on several sets of pictures."""

NUMBER_HEADINGS = ("top-1, 95 %", "top-5, 95 %", "agreement, 95 %", "loss", "calibration error", "pictures/s")


def accuracy_table(rows: Iterable[tuple[str, BenchmarkRow, str]]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the table, each accuracy of a file once.

    Args:
        rows: Name of the file, row, and what its accuracy was measured on; rows without accuracy are left out.

    Returns:
        Headings, of `TEXT_HEADINGS` and `NUMBER_HEADINGS`, and the cells of each line; no lines without any accuracy.
    """
    found: dict[tuple[str, ...], str] = {}
    for name, row, pictures in rows:
        if row.top1 is not None:
            found.setdefault((name, pictures, *_figures(row)), _speed_text(row))
    table = [[*texts, speed] for texts, speed in found.items()]
    headings = [*TEXT_HEADINGS, *NUMBER_HEADINGS]
    if len({pictures for _, pictures, *_ in table}) > 1:
        return headings, table
    return headings[:1] + headings[2:], [[name, *figures] for name, _, *figures in table]


def _figures(row: BenchmarkRow) -> list[str]:
    return [
        _interval_text(row.top1_interval),
        _interval_text(row.top5_interval),
        _interval_text(row.top1_agreement_interval),
        "-" if row.loss is None else f"{row.loss:.4f}",
        percent_text(row.calibration_error),
    ]


def _speed_text(row: BenchmarkRow) -> str:
    return "-" if row.images_per_second is None else f"{row.images_per_second:,.0f}"


def _interval_text(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{100 * interval[0]:.2f} to {percent_text(interval[1])}"
