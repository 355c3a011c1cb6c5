"""The table of accuracies with their intervals, below the one of the benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bopkit.cli.output import print_table, show

if TYPE_CHECKING:
    from bopkit.benchmark.report import BenchmarkRow


def print_accuracy(rows: Iterable[BenchmarkRow]) -> None:
    """Print a row for each artifact whose accuracy was measured; nothing if there is none."""
    from bopkit.benchmark.reports.accuracy import NUMBER_HEADINGS, accuracy_table

    headings, table = accuracy_table((row.artifact, row, "") for row in rows)  # the same in all rows of an artifact
    if table:
        show()
        print_table(headings, table, right=NUMBER_HEADINGS)
