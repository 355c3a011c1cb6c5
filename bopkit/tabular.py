"""Results of the public functions as people look at them in Python: a few lines, a small table, and pandas."""

from __future__ import annotations

import dataclasses
import html
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from bopkit.errors import BopkitError
from bopkit.text import printable

T = TypeVar("T")

LINES = 6
"""Rows of a table that are shown as text."""

HTML_ROWS = 30
"""Rows of a table that are shown in a notebook."""

WIDTH = 80
"""Columns of a terminal that a line of text may take."""

CELL_WIDTH = 32
"""Characters of a cell that are shown as text: of a path the last ones, which tell files apart, else the first."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a shown table.

    Attributes:
        heading: What stands above it.
        key: Key of its value in a record.
        text: Makes a value that is not None a text.
    """

    heading: str
    key: str
    text: Callable[[Any], str] = str


class Tabular:
    """A result that shows a title and a few columns, and that pandas takes whole.

    Its `repr` takes a few lines, notebooks draw a table, and `to_pandas()` has every figure that is one value. A
    dataclass that derives from it is made with `repr=False`.
    """

    _columns: ClassVar[Sequence[Column]] = ()
    """What is shown, the most important columns first: those that do not fit into a line are left out."""

    def _title(self) -> str:
        """What the result is, in one line; empty where the table says all."""
        return ""

    def _records(self) -> list[dict[str, Any]]:
        """The rows of the table for pandas, with plain values by name."""
        return [record(self)]

    def _shown_records(self) -> list[dict[str, Any]]:
        """The rows that are shown."""
        return self._records()

    def to_pandas(self) -> Any:
        """The figures as a `pandas.DataFrame`; units are in the names of its columns, shares go from 0 to 1.

        Raises:
            BopkitError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            if error.name != "pandas":
                raise
            raise BopkitError("pandas is not installed.", "Type `pip install pandas`.") from error
        return pandas.DataFrame(self._records())

    def __repr__(self) -> str:
        headings, rows, right = self._table(LINES)
        table = [headings, *([_shortened(cell) for cell in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        fitting = sum(sum(widths[:count]) + 2 * count <= WIDTH for count in range(1, len(widths) + 1)) or 1
        title = printable(self._title())
        head = f"{type(self).__name__}: {title}" if title else type(self).__name__
        lines = textwrap.wrap(head, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for row in table if rows else ():
            cells = zip(row[:fitting], widths, right, strict=False)
            line = "  ".join(cell.rjust(width) if is_number else cell.ljust(width) for cell, width, is_number in cells)
            lines.append(f"  {line}".rstrip())
        return "\n".join([*lines, *self._rest(LINES)])

    def _repr_html_(self) -> str:
        """The table for a notebook."""
        headings, rows, right = self._table(HTML_ROWS)
        parts = [f"<caption>{html.escape(printable(self._title()))}</caption>", _html_row("th", headings, right)]
        parts += [_html_row("td", row, right) for row in rows]
        parts += [f'<tr><td colspan="{len(headings)}">{text}</td></tr>' for text in self._rest(HTML_ROWS)]
        return f"<table>{''.join(parts)}</table>"

    def _table(self, limit: int) -> tuple[list[str], list[list[str]], list[bool]]:
        """Headings, rows of cells, and whether each column holds numbers; a column without any value is left out."""
        records = self._shown_records()
        columns = [each for each in self._columns if any(row.get(each.key) not in (None, "") for row in records)]
        rows = [[_cell(each, row) for each in columns] for row in records[:limit]]
        right = [any(isinstance(row.get(each.key), int | float) for row in records) for each in columns]
        return [each.heading for each in columns], rows, right

    def _rest(self, limit: int) -> list[str]:
        more = len(self._shown_records()) - limit
        return [f"... and {more:,} more; to_pandas() has all"] if more > 0 else []


def record(result: Any) -> dict[str, Any]:
    """The fields of a dataclass that are one value, by name.

    Returns:
        Text, numbers, booleans and None as they are; an interval as two values with `_low` and `_high` behind the name,
        a shape as `3x3x64`; lists, tables and further objects are left out.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if field.name.endswith("_interval"):
            name = field.name.removesuffix("_interval")
            values[f"{name}_low"], values[f"{name}_high"] = value or (None, None)
        elif field.name.endswith("shape") and value is not None:
            values[field.name] = "x".join(map(str, value))
        elif value is None or isinstance(value, str | int | float | bool):
            values[field.name] = value
    return values


def _cell(column: Column, values: Mapping[str, Any]) -> str:
    value = values.get(column.key)
    return "-" if value is None else printable(column.text(value))


def _shortened(cell: str) -> str:
    if len(cell) <= CELL_WIDTH:
        return cell
    return f"{cell[: CELL_WIDTH - 3]}..." if " " in cell else f"...{cell[3 - CELL_WIDTH :]}"


def _html_row(tag: str, cells: Iterable[str], right: Iterable[bool]) -> str:
    sides = ("right" if is_number else "left" for is_number in right)
    texts = (
        f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>'
        for cell, side in zip(cells, sides, strict=True)
    )
    return f"<tr>{''.join(texts)}</tr>"


def in_order(rows: Sequence[T], value: Callable[[T], Any], is_largest_first: bool) -> list[T]:
    """Sort by a value that some rows lack: these come last, as they are."""

    def order(row: T) -> tuple[bool, Any]:
        found = value(row)
        return (True, found) if isinstance(found, int | float) else (False, str(found))

    given = [row for row in rows if value(row) is not None]
    missing = [row for row in rows if value(row) is None]
    return [*sorted(given, key=order, reverse=is_largest_first), *missing]
