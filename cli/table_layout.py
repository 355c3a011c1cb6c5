"""What a terminal shows of a table: from texts and a width to cells that fit, without a broken word or number.

Pure functions. A column that has no room is left out, the least important ones first; running text that has none goes
below its row; folders that all names share are said once. Into a file or a pipe goes all, one line a row.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

GAP = 2
"""Columns of the terminal between two columns of a table."""

LEAST_TEXT = 24
"""Columns of the terminal below which running text is hard to read."""

INDENT = "    "
"""Before text below its row."""

_WORD = re.compile(r"\s*(?:[^\s`]*`[^`]*`\S*|[<>]=? \S+|\d[\d.,]* (?:%|[kMGT]?B|bytes?|M|ms|s|x)(?!\w)\S*|\S+)")
"""What stays in one line, with the spaces before it: a command in backquotes, a bound, a number with unit, a word."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What is shown of a row: a cell a column, of several lines where it is text, and the lines below them."""

    cells: tuple[str, ...]
    below: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is shown of a table.

    Attributes:
        places: Index of each column that is shown, ascending.
        widths: Of these, in columns of the terminal.
        heading: The headings.
        rows: What they stand above.
        dropped: Headings of the columns that have no room.
        prefix: What all names of the first column begin with, and is not shown there.
        is_shortened: Whether a name has "…" in its middle.
        whole_width: Columns of a terminal that leaves none of the table's columns out.
    """

    places: tuple[int, ...]
    widths: tuple[int, ...]
    heading: Row
    rows: tuple[Row, ...]
    dropped: tuple[str, ...] = ()
    prefix: str = ""
    is_shortened: bool = False
    whole_width: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all is shown as in a file."""
        return not (self.dropped or self.heading.below or self.is_shortened)


class _Column(NamedTuple):
    heading: str
    cells: tuple[str, ...]
    is_text: bool
    natural: int
    least: int


def lay_out(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    text: Iterable[str] = (),
    important: Sequence[str] = (),
) -> Layout:
    """Choose what of a table is shown.

    Args:
        headings: At least one.
        rows: A cell a heading, each in one line; the first names the row, and is always shown.
        width: Of the terminal, in columns; None for a file or a pipe.
        text: Headings of the columns of running text, which may be broken between words.
        important: Headings of the columns that stay the longest, the most important first; the others follow from left
            to right.
    """
    cells = list(zip(*rows, strict=True)) or [()] * len(headings)
    texts = set(text)
    columns = [_column(heading, each, heading in texts) for heading, each in zip(headings, cells, strict=True)]
    if width is None:
        places = tuple(range(len(columns)))
        return Layout(
            places,
            tuple(column.natural for column in columns),
            Row(tuple(headings)),
            tuple(Row(tuple(row)) for row in rows),
        )
    ranks = {heading: rank for rank, heading in reversed(list(enumerate(important)))}
    order = sorted(range(1, len(columns)), key=lambda place: ranks.get(columns[place].heading, len(important)))
    layout = _fitted(columns, order, width)
    prefix = common_folder(columns[0].cells)
    if layout.is_whole or not prefix:
        return layout
    names = tuple(cell.removeprefix(prefix) for cell in columns[0].cells)
    columns[0] = _column(columns[0].heading, names, columns[0].is_text)
    return dataclasses.replace(_fitted(columns, order, width), prefix=prefix)


def row_lines(row: Row, widths: Sequence[int], is_right: Sequence[bool], at_bottom: bool = False) -> list[str]:
    """A row as it is printed.

    Args:
        row: Of a layout.
        widths: Of its cells.
        is_right: Whether each cell is aligned to the right, as numbers are.
        at_bottom: Whether cells of fewer lines than others begin below them, as headings do.
    """
    cells = [cell.split("\n") for cell in row.cells]
    height = max(map(len, cells))
    filled = [[""] * (height - len(cell)) + cell if at_bottom else cell + [""] * (height - len(cell)) for cell in cells]
    lines = []
    for texts in zip(*filled, strict=True):
        spaces = [" " * (width - cell_len(text)) for text, width in zip(texts, widths, strict=True)]
        placed = zip(texts, spaces, is_right, strict=True)
        line = (" " * GAP).join(space + text if right else text + space for text, space, right in placed)
        lines.append(line.rstrip())
    return [*lines, *row.below]


def common_folder(names: Sequence[str]) -> str:
    """The folders that two or more different names begin with, with a slash behind; empty for none but the root."""
    prefix = os.path.commonprefix(list(names)) if len(set(names)) > 1 else ""
    folder = prefix[: prefix.rfind("/") + 1]
    return "" if folder == "/" else folder


def wrapped(text: str, width: int) -> list[str]:
    """Lines of the text, broken between words only: a word that is longer than the width stays whole.

    Args:
        text: One line; the spaces that it begins with begin each of its lines.
        width: Columns of the terminal.
    """
    if cell_len(text) <= width:
        return [text]
    margin = text[: len(text) - len(text.lstrip())]
    lines: list[str] = []
    for word in _WORD.findall(text):
        if lines and cell_len(lines[-1] + word) <= width:
            lines[-1] += word
        else:
            lines.append(margin + word.lstrip() if lines else word)
    return lines


def shortened(name: str, width: int) -> str:
    """The name with "…" for its middle where it is wider than `width`, which is at least 1."""
    if cell_len(name) <= width:
        return name
    end = (width - 1) // 2
    return f"{set_cell_size(name, width - 1 - end)}…{set_cell_size(name[::-1], end)[::-1]}"


def _column(heading: str, cells: Sequence[str], is_text: bool) -> _Column:
    natural = max(map(cell_len, (heading, *cells)))
    if is_text:
        least = max(_longest_word(heading, *cells), min(natural, LEAST_TEXT))
    else:
        least = max(_longest_word(heading), *map(cell_len, cells), 0)
    return _Column(heading, tuple(cells), is_text, natural, least)


def _longest_word(*texts: str) -> int:
    return max((cell_len(word.strip()) for text in texts for word in _WORD.findall(text)), default=0)


def _fitted(columns: Sequence[_Column], order: Sequence[int], width: int) -> Layout:
    """The layout in which long names take half of the terminal; all of it where they would look the same then."""
    layout = _with_names(columns, order, width, max(width // 2, _longest_word(columns[0].heading)))
    names = {(row.cells[0], columns[0].cells[number]) for number, row in enumerate(layout.rows)}
    if len({shown for shown, _ in names}) < len(names):
        layout = _with_names(columns, order, width, width)
    return layout


def _with_names(columns: Sequence[_Column], order: Sequence[int], width: int, names: int) -> Layout:
    least = [min(columns[0].least, names), *(column.least for column in columns[1:])]
    room, chosen = width - least[0], [0]
    for place in order:
        if least[place] + GAP <= room:
            chosen.append(place)
            room -= least[place] + GAP
    chosen.sort()
    widths = _shrunk(columns, chosen, least, width)
    below = [place for place in order if place not in chosen and columns[place].is_text]
    below = [place for place in sorted(below) if any(columns[place].cells)]
    dropped = [column for place, column in enumerate(columns) if place not in {*chosen, *below} and any(column.cells)]

    def row(number: int | None) -> Row:
        texts = [column.heading if number is None else column.cells[number] for column in columns]
        cells = ["\n".join(_cell_lines(texts[place], widths[place])) for place in chosen]
        lines = [line for place in below if texts[place] for line in wrapped(INDENT + texts[place], width)]
        return Row(tuple(cells), tuple(lines))

    rows = tuple(row(number) for number in range(len(columns[0].cells)))
    return Layout(
        tuple(chosen),
        tuple(widths[place] for place in chosen),
        row(None),
        rows,
        tuple(column.heading for column in dropped),
        is_shortened=any(
            row.cells[0].split() != name.split() for row, name in zip(rows, columns[0].cells, strict=True)
        ),
        whole_width=sum(column.least + GAP for column in columns) - GAP,
    )


def _cell_lines(text: str, width: int) -> list[str]:
    return [shortened(line, width) for line in wrapped(text, width)]


def _shrunk(columns: Sequence[_Column], chosen: Sequence[int], least: Sequence[int], width: int) -> dict[int, int]:
    """Widths by place: first headings are broken, then text, the widest first, and last the names give way."""
    widths = {place: max(columns[place].natural, least[place]) for place in chosen}
    groups: tuple[list[int], ...] = ([], [], [])
    for place in chosen:
        groups[2 if place == 0 else 1 if columns[place].is_text else 0].append(place)
    for group in groups:
        while sum(widths.values()) + GAP * (len(chosen) - 1) > width:
            wider = [place for place in group if widths[place] > least[place]]
            if not wider:
                break
            widths[max(wider, key=lambda place: widths[place])] -= 1
    return widths
