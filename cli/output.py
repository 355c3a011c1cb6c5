"""How commands print: data on stdout, everything else on stderr.

Names and cards in artifacts, messages about them, run directories: much of the text is a stranger's. So every function
here escapes what it prints, and commands print through these functions alone. Not by Typer's `echo`, which writes UTF-8
to a stream of ASCII, nor by `print`, which writes the end of the line apart: two processes would share a line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from bopkit.files import json_text
from bopkit.text import percent_text as percent_text
from bopkit.text import printable as printable
from bopkit.text import size_text as size_text

WIDE = 200
"""Columns of a table that goes into a file or a pipe, where nothing should be folded."""


def say(text: str) -> None:
    """Print a line for a person on stderr."""
    _write_line(sys.stderr, printable(text))


def show(text: str = "") -> None:
    """Print a line on stdout."""
    _write_line(sys.stdout, printable(text))


def print_path(path: str | Path) -> None:
    """Print a path on stdout as it is, for scripts: the user named it, or its folder."""
    _write_line(sys.stdout, str(path))


def say_with_time() -> Callable[[str], None]:
    """`say` with the seconds that have passed since now, for the steps of something slow."""
    started = time.perf_counter()
    return lambda text: say(f"[{time.perf_counter() - started:3.0f} s] {text}")


def print_document(text: str) -> None:
    """Print a document on stdout as it is: one of bopkit's own writers made it, and escaped every name in it."""
    print(text, end="", flush=True)


def print_json(value: Any) -> None:
    """Print JSON on stdout; control characters are escaped as JSON does."""
    _write_line(sys.stdout, json_text(value))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None, right: Iterable[str] = ()
) -> None:
    """Print a table on stdout.

    Args:
        columns: Headings.
        rows: Cells as text.
        title: Above the table.
        right: Headings of the columns that hold numbers.
    """
    if title is not None:
        show(title)
    table = Table(box=None, pad_edge=False, header_style="bold")
    numeric = set(right)
    for column in columns:
        table.add_column(printable(column), justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    console = _Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False, emoji=False)
    console.print(table)


class _Console(Console):
    """Leaves a reader that is gone, as behind `| head -1`, to `bopkit.cli.errors`."""

    def on_broken_pipe(self) -> None:
        """Raise what it was called for."""
        raise BrokenPipeError


def _write_line(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()
