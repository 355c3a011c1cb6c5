"""The table of accuracies with their intervals, below the one of the benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bopkit.cli.output import percent_text, print_table, show

if TYPE_CHECKING:
    from bopkit.benchmark.report import BenchmarkRow


def print_accuracy(rows: Iterable[BenchmarkRow]) -> None:
    """Print a row for each artifact whose accuracy was measured; nothing if there is none."""
    measured = {row.artifact: row for row in rows if row.top1 is not None}  # the same in all rows of an artifact
    if not measured:
        return
    numbers = ["top-1, 95 %", "top-5, 95 %", "agreement, 95 %", "loss", "calibration error", "pictures/s"]
    show()
    print_table(["artifact", *numbers], map(_cells, measured.values()), right=numbers)


def _cells(row: BenchmarkRow) -> list[str]:
    return [
        row.artifact,
        _interval_text(row.top1_interval),
        _interval_text(row.top5_interval),
        _interval_text(row.top1_agreement_interval),
        "-" if row.loss is None else f"{row.loss:.4f}",
        percent_text(row.calibration_error),
        "-" if row.images_per_second is None else f"{row.images_per_second:,.0f}",
    ]


def _interval_text(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{100 * interval[0]:.2f} to {percent_text(interval[1])}"
