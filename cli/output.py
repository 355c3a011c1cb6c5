"""How commands print: data on stdout, everything else on stderr.

Names and cards in artifacts, messages about them, run directories: much of the text is a stranger's. So every function
here escapes what it prints, and commands print through these functions alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

WIDE = 200
"""Columns of a table that goes into a file or a pipe, where nothing should be folded."""


def printable(text: str) -> str:
    """Text with escapes in place of what moves the cursor, breaks the line or changes a terminal."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def say(text: str) -> None:
    """Print a line for a person on stderr."""
    typer.echo(printable(text), err=True)


def show(text: str = "") -> None:
    """Print a line on stdout."""
    typer.echo(printable(text))


def print_path(path: str | Path) -> None:
    """Print a path on stdout as it is, for scripts: the user named it, or its folder."""
    typer.echo(str(path))


def say_with_time() -> Callable[[str], None]:
    """`say` with the seconds that have passed since now, for the steps of something slow."""
    started = time.perf_counter()
    return lambda text: say(f"[{time.perf_counter() - started:3.0f} s] {text}")


def print_json(value: Any) -> None:
    """Print JSON on stdout; control characters are escaped as JSON does."""
    typer.echo(json.dumps(value, indent=2))


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
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False, emoji=False)
    console.print(table)


def size_text(size_bytes: int | float | None) -> str:
    """A size for a person, in decimal units: `1.35 MB`."""
    if size_bytes is None:
        return "-"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.2f} {unit}"
    return f"{size_bytes:.0f} B"


def percent_text(share: float | None) -> str:
    """A share from 0 to 1 in percent: `97.25 %`."""
    return "-" if share is None else f"{100 * share:.2f} %"
