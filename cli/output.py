"""How commands print: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

WIDE = 200
"""Columns of a table that goes into a file or a pipe, where nothing should be folded."""


def say(text: str) -> None:
    """Print a line for a person on stderr."""
    typer.echo(text, err=True)


def printable(text: str) -> str:
    """A stranger's text with escapes in place of what moves the cursor, breaks the line or changes a terminal."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def show(text: str) -> None:
    """Print a line on stdout, which may hold a stranger's text."""
    typer.echo(printable(text))


def say_with_time() -> Callable[[str], None]:
    """`say` with the seconds that have passed since now, for the steps of something slow."""
    started = time.perf_counter()
    return lambda text: say(f"[{time.perf_counter() - started:3.0f} s] {text}")


def print_json(value: Any) -> None:
    """Print JSON on stdout."""
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
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    numeric = set(right)
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False)
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
