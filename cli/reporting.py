"""What `bopkit benchmark`, `report` and `compare` have in common: the table, and the files that they write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.output import print_document, print_table, say, show
from bopkit.errors import UsageError

if TYPE_CHECKING:
    from bopkit.benchmark.report import BenchmarkRow
    from bopkit.benchmark.reports import Change, MergedReport

STDOUT = "-"
"""Stands for stdout where a file is asked for."""

Html = Annotated[
    str | None, typer.Option("--html", metavar="FILE", help="Write a page with charts: one file, - for stdout.")
]
Markdown = Annotated[
    str | None, typer.Option("--markdown", metavar="FILE", help="Write a table for a README; - for stdout.")
]
Csv = Annotated[
    str | None, typer.Option("--csv", metavar="FILE", help="Write every figure for a spreadsheet; - for stdout.")
]


def check_targets(json: bool, *targets: str | Path | None) -> bool:
    """Refuse files that cannot be written, before anything slow.

    Returns:
        Whether stdout is free for the table.

    Raises:
        UsageError: A folder has the name of a file, two things go into one file, or two to stdout.
    """
    given = [str(target) for target in targets if target is not None]
    if json + given.count(STDOUT) > 1:
        raise UsageError("Only one of --json and the files named - can go to stdout.", "Name a file for the others.")
    for target in given:
        if target != STDOUT and (Path(target).is_dir() or not Path(target).name):
            raise UsageError(f"{target} is a folder.", "Name a file.")
        if target != STDOUT and given.count(target) > 1:
            raise UsageError(f"Two formats would go into {target}.", "Name a file for each.")
    return not json and STDOUT not in given


def write_target(target: str | Path | None, make: Callable[[], str]) -> None:
    """Write what `make` returns to a file, whole or not at all, or to stdout; nothing where no target is given."""
    from bopkit import files

    if target is None:
        return
    if str(target) == STDOUT:
        print_document(make())
        return
    files.write_bytes(Path(target), make().encode())
    say(f"Wrote {target}.")


def print_report(merged: MergedReport, changes: Sequence[Change | None] | None = None) -> None:
    """Print the table and how it was measured on stdout, notes on stderr."""
    from bopkit.benchmark.reports.table import cells, columns_for, conditions, lines_of

    lines = lines_of(merged, changes)
    columns = columns_for(lines)
    datasets = {f"{report.dataset} {report.split}" for _, report in merged.sources if report.dataset}
    print_table(
        [column.heading for column in columns],
        [cells(columns, line) for line in lines],
        title=datasets.pop() if len(datasets) == 1 else None,
        right=[column.heading for column in columns if column.is_number],
    )
    for text in conditions(merged):
        show(text)
    for line in lines:
        for note in line.entry.row.notes:
            say(f"{line.entry.row.artifact}{_on(line.entry.row)}: {note}")


def say_failures(merged: MergedReport) -> None:
    """Print why rows failed on stderr; a device that is not there fails all its rows for one reason, said once."""
    said: set[str] = set()
    for row in (entry.row for entry in merged.entries):
        if row.error is not None and row.error not in said:
            where = "" if row.artifact in row.error else f"{row.artifact}: "
            say(f"Error: {where}{row.error} {row.hint or ''}".rstrip())
            said.add(row.error)


def _on(row: BenchmarkRow) -> str:
    return "" if row.device == "local" else f" on {row.device}"
