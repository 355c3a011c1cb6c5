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

from bopkit.cli.table_layout import GAP, Layout, Row, lay_out, row_lines, shortened, wrapped
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


_SHORTENED = "Long names have … in place of their middle; `--json` has them whole."


class RowTable:
    """A table on stdout that is printed row by row, for more rows than fit into memory: its widths are known before.

    On a terminal the first column is shortened to what the others leave of the width, and says its name once where
    several rows in turn have it; into a file or a pipe goes all, one line a row.

    Args:
        columns: Headings.
        widths: Characters of the widest cell of each column.
        right: Headings of the columns that hold numbers.
    """

    def __init__(self, columns: Sequence[str], widths: Sequence[int], right: Iterable[str] = ()):
        self._terminal_width = _terminal_width(sys.stdout)
        self._widths = [max(len(column), width) for column, width in zip(columns, widths, strict=True)]
        if self._terminal_width is not None:
            self._widths = self._fitted(self._terminal_width)
        numeric = set(right)
        self._is_right = [column in numeric for column in columns]
        self._name: str | None = None
        self._is_shortened = False
        self._print(columns)

    def add(self, cells: Sequence[str]) -> None:
        """Print a row; the first cell names it."""
        shown = [printable(cell) for cell in cells]
        if self._terminal_width is not None:
            is_repeated, self._name = shown[0] == self._name, shown[0]
            whole, shown = shown, [shortened(cell, width) for cell, width in zip(shown, self._widths, strict=True)]
            self._is_shortened |= shown != whole
            shown[0] = "" if is_repeated else shown[0]
        self._print(shown)

    def end(self) -> None:
        """Print what a person has to know of what is not shown."""
        if self._is_shortened:
            show(_SHORTENED)

    def _fitted(self, terminal_width: int) -> list[int]:
        """The widths on a terminal: names and texts give way, numbers at the end do not."""
        first, *middle, last = self._widths
        free = terminal_width - GAP * (len(self._widths) - 1) - last
        middle = [min(width, free // (2 * len(middle))) for width in middle]
        return [max(1, min(first, free - sum(middle))), *middle, last]

    def _print(self, cells: Sequence[str]) -> None:
        for line in row_lines(Row(tuple(cells)), self._widths, self._is_right):
            _write_line(sys.stdout, line)


class JsonRows:
    """One JSON object on stdout whose last value is a list that is printed element by element.

    Args:
        head: What stands before the list.
        key: Its name.
    """

    def __init__(self, head: dict[str, Any], key: str):
        _write_line(sys.stdout, json_text({**head, key: []}).removesuffix("]\n}"))
        self._last: str | None = None

    def add(self, value: Any) -> None:
        """Print the element before this one, as its comma depends on this one."""
        if self._last is not None:
            _write_line(sys.stdout, f"{self._last},")
        self._last = "    " + json_text(value).replace("\n", "\n    ")

    def end(self) -> None:
        """Print what makes it whole."""
        if self._last is not None:
            _write_line(sys.stdout, self._last)
        _write_line(sys.stdout, "  ]\n}")


def is_terminal() -> bool:
    """Whether stdout goes to a person's terminal, where rows show by themselves how far a command is."""
    return sys.stdout.isatty()


def _notes(layout: Layout, name: str, width: int | None) -> list[str]:
    """What a person has to know of what the table does not show."""
    notes = []
    if layout.prefix:
        notes.append(f"Each {name} begins with {layout.prefix}")
    if layout.is_shortened:
        notes.append(_SHORTENED)
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
