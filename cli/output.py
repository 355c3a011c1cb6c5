"""How commands print: data on stdout, everything else on stderr.

Names and cards in artifacts, messages about them, run directories: much of the text is a stranger's. So every function
here escapes what it prints, and commands print through these functions alone. Not by Typer's `echo`, which writes UTF-8
to a stream of ASCII, nor by `print`, which writes the end of the line apart: two processes would share a line.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from bopkit.cli.table_layout import Layout, lay_out, row_lines, wrapped
from bopkit.files import json_text
from bopkit.text import mean_text as mean_text
from bopkit.text import percent_text as percent_text
from bopkit.text import printable as printable
from bopkit.text import size_text as size_text

USUAL_WIDTH = 80
"""Columns of a terminal that does not tell how many it has."""


def say(text: str) -> None:
    """Print a line for a person on stderr; on a terminal it is broken between words."""
    _write_text(sys.stderr, text)


def show(text: str = "") -> None:
    """Print a line on stdout; on a terminal it is broken between words."""
    _write_text(sys.stdout, text)


def say_command(command: str) -> None:
    """Print a command on stderr in one line, however long, so that it can be copied."""
    _write_line(sys.stderr, printable(command))


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
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    right: Iterable[str] = (),
    text: Iterable[str] = (),
    important: Sequence[str] = (),
) -> None:
    """Print a table on stdout: into a file or a pipe all of it, one line a row; on a terminal what fits, unbroken.

    The command has `--json`, which a line below the table names where something has no room.

    Args:
        columns: Headings.
        rows: Cells as text; the first names the row.
        title: Above the table.
        right: Headings of the columns that hold numbers.
        text: Headings of the columns of running text, which may be broken between words.
        important: Headings of the columns that stay the longest on a narrow terminal, the most important first.
    """
    if title is not None:
        show(title)
    width = _terminal_width(sys.stdout)
    headings = [printable(column) for column in columns]
    cells = [[printable(cell) for cell in row] for row in rows]
    layout = lay_out(headings, cells, width, map(printable, text), list(map(printable, important)))
    numeric = set(map(printable, right))
    is_right = [headings[place] in numeric for place in layout.places]
    console = _Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for line in row_lines(layout.heading, layout.widths, is_right, at_bottom=True):
        console.print(line, style="bold")
    for row in layout.rows:
        for line in row_lines(row, layout.widths, is_right):
            console.print(line)
    for note in _notes(layout, headings[0], width):
        show(note)


def _notes(layout: Layout, name: str, width: int | None) -> list[str]:
    """What a person has to know of what the table does not show."""
    notes = []
    if layout.prefix:
        notes.append(f"Each {name} begins with {layout.prefix}")
    if layout.is_shortened:
        notes.append("Long names have … in place of their middle; `--json` has them whole.")
    if layout.dropped:
        left_out = ", ".join(layout.dropped)
        notes.append(
            f"{width} columns have no room for {left_out}; a terminal of {layout.whole_width} columns, or `--json`, "
            "shows all."
        )
    return notes


class _Console(Console):
    """Leaves a reader that is gone, as behind `| head -1`, to `bopkit.cli.errors`."""

    def on_broken_pipe(self) -> None:
        """Raise what it was called for."""
        raise BrokenPipeError


def _terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream goes to; None where it goes into a file or a pipe."""
    if not stream.isatty():
        return None
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_WIDTH
    except OSError:
        return USUAL_WIDTH


def _write_text(stream: TextIO, text: str) -> None:
    width = _terminal_width(stream)
    line = printable(text)
    _write_line(stream, line if width is None else "\n".join(wrapped(line, width)))


def _write_line(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()
