"""What `bopkit benchmark`, `report` and `compare` have in common: the table, and the files that they write."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.output import print_document, print_table, say, show
from bopkit.errors import UsageError
from bopkit.failures import translate
from bopkit.files import is_stream, scratch_directory

if TYPE_CHECKING:
    from bopkit.benchmark.reports import MergedReport

STDOUT = "-"
"""Stands for stdout where a file is asked for."""

Html = Annotated[
    str | None,
    typer.Option("--html", metavar="FILE", help="Write an HTML page with charts, all in one file; - for stdout."),
]
Markdown = Annotated[
    str | None, typer.Option("--markdown", metavar="FILE", help="Write a Markdown table, for a README; - for stdout.")
]
Csv = Annotated[
    str | None,
    typer.Option("--csv", metavar="FILE", help="Write every figure as CSV, for a spreadsheet; - for stdout."),
]


def check_targets(json: bool, *targets: str | Path | None, inputs: Iterable[str | Path | None] = ()) -> bool:
    """Refuse files that cannot be written, before anything slow.

    Args:
        json: Whether JSON goes to stdout.
        targets: Files to write, `STDOUT` or None.
        inputs: Files that are read, and must not be overwritten.

    Returns:
        Whether stdout is free for the table.

    Raises:
        UsageError: A folder has the name of a file, two things go into one file, or two to stdout.
        OSError: The folder of a file cannot be made or written to.
    """
    taken = {Path(each).resolve() for each in inputs if each is not None}
    given = [target for target in targets if target is not None]
    to_stdout = sum(map(is_stdout, given))
    if json + to_stdout > 1:
        raise UsageError("Only one of --json and the outputs named - can go to stdout.", "Name a file for the others.")
    for target in given:
        if is_stdout(target):
            continue
        path = Path(target).resolve()  # what is written to, where it is a link
        if path.is_dir() or not Path(target).name:
            raise UsageError(f"{target} is a folder.", "Name a file.")
        if path in taken:
            raise UsageError(f"{target} would be overwritten: it is read, or written twice.", "Name another file.")
        taken.add(path)
        if not is_stream(Path(target)):
            _try_writing_below(next(each for each in path.parents if each.exists()))
    return not json and not to_stdout


def is_stdout(target: str | Path) -> bool:
    """Whether a file is stdout by one of its names: opened anew it would overwrite what is printed."""
    return str(target) in (STDOUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def _try_writing_below(folder: Path) -> None:
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    with scratch_directory(folder):
        pass


def write_targets(*targets: tuple[str | Path | None, Callable[[], str]]) -> Exception | None:
    """Write files, each whole or not at all, or to stdout; one that fails keeps none of the others back.

    Args:
        targets: File and what makes its text; nothing is written where the file is None.

    Returns:
        The first error, for the command to end with; the others are said.
    """
    first: Exception | None = None
    for target, make in targets:
        try:
            _write(target, make)
        except Exception as error:
            if first is not None:
                say(f"Error: {translate(error)}")
            first = first or error
    return first


def _write(target: str | Path | None, make: Callable[[], str]) -> None:
    from bopkit import files

    if target is None:
        return
    if is_stdout(target):
        print_document(make())
        return
    files.write_bytes(Path(target), make().encode())
    say(f"Wrote {target}.")


def print_report(merged: MergedReport) -> None:
    """Print the table, how it was measured and accuracies with their intervals on stdout, notes on stderr."""
    from bopkit.benchmark.reports.accuracy_table import NUMBER_HEADINGS, TEXT_HEADINGS, accuracy_table
    from bopkit.benchmark.reports.conditions import conditions
    from bopkit.benchmark.reports.footnotes import footnotes
    from bopkit.benchmark.reports.table import IMPORTANT, cells, columns_for

    lines = merged.lines
    columns = columns_for(lines)
    datasets = {f"{report.dataset} {report.split}" for _, report in merged.sources if report.dataset}
    print_table(
        [column.heading for column in columns],
        [cells(columns, line) for line in lines],
        title=datasets.pop() if len(datasets) == 1 else None,
        right=[column.heading for column in columns if column.is_number],
        text=["device", "accuracy on"],
        important=IMPORTANT,
    )
    for text in conditions(merged):
        show(text)
    for note in footnotes(lines):
        say(f"{note.label}: {note.text}")
    headings, accuracies = accuracy_table(lines)
    if accuracies:
        show()
        print_table(headings, accuracies, right=NUMBER_HEADINGS, text=TEXT_HEADINGS)


def say_failures(merged: MergedReport, *, is_error: bool = True) -> None:
    """Print why rows failed on stderr; a device that is not there fails all its rows for one reason, said once.

    Args:
        merged: The report.
        is_error: Whether the command fails for it; else it only tells of what failed when it was measured.
    """
    from bopkit.benchmark.results import LOCAL

    silent_devices = {line.row.device for line in merged.lines if line.environment is None} - {LOCAL}
    said: set[tuple[str, str]] = set()
    for row in (line.row for line in merged.lines):
        if row.error is None:
            continue
        name = row.device if row.device in silent_devices else row.artifact
        if (name, row.error) not in said:
            said.add((name, row.error))
            where = "" if name in row.error and is_error else f"{name}: "
            start = f"Error: {where}" if is_error else f"{where}failed: "
            say(f"{start}{row.error} {row.hint or ''}".rstrip())
