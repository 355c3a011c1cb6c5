"""`--help` as plain text, in which no word, name of an option or default is broken."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Any

import typer.core

from bopkit.cli.table_layout import wrapped

WIDEST = 80
"""Columns of the longest line: longer ones are hard to read."""

MARGIN, GAP = "  ", "  "

_FACTS = "  ["


class Command(typer.core.TyperCommand):
    """A command with help as above."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what the command does."""
        formatter.write(_description(self.help))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write its arguments and options."""
        formatter.write(_parameters(self, ctx))


class Group(typer.core.TyperGroup):
    """A group of commands with help as above."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what its commands do."""
        formatter.write(_description(self.help))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write its options and commands."""
        commands = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        rows = [(name, command.short_help or command.help or "") for name, command in commands if not command.hidden]
        formatter.write(_parameters(self, ctx) + definitions("Commands", rows, _width()))


def definitions(title: str, rows: Iterable[tuple[str, str]], width: int) -> str:
    """A section of names, which are never broken, and what they are for; empty without rows.

    Args:
        title: Above them.
        rows: Name and text of each.
        width: Columns that a line may have.
    """
    rows = list(rows)
    if not rows:
        return ""
    column = min(max(len(name) for name, _ in rows), width * 3 // 8)
    start = MARGIN + " " * column + GAP
    lines = ["", f"{title}:"]
    for name, text in rows:
        first, *others = _text_lines(text, width - len(start))
        if len(name) > column:
            lines += [MARGIN + name, start + first]
        else:
            lines.append(f"{MARGIN}{name:{column}}{GAP}{first}".rstrip())
        lines += [start + line for line in others]
    return "\n".join(lines) + "\n"


def _text_lines(text: str, width: int) -> list[str]:
    """The text in lines, with what Typer puts behind it, as in `Seed.  [default: 0]`, in one of them."""
    body, mark, facts = text.partition(_FACTS)
    lines = wrapped(" ".join(body.split()), width)
    if mark and len(lines[-1] + mark + facts) <= width:
        lines[-1] += mark + facts
    elif mark:
        lines += wrapped(mark.lstrip() + facts, width)
    return lines


def _parameters(command: Command | Group, ctx: Any) -> str:
    records = [(each.param_type_name, each.get_help_record(ctx)) for each in command.get_params(ctx)]
    sections = (
        definitions(title, [record for kind, record in records if record is not None and kind == wanted], _width())
        for title, wanted in (("Arguments", "argument"), ("Options", "option"))
    )
    return "".join(sections)


def _description(text: str | None) -> str:
    lines = wrapped(" ".join((text or "").split()), _width() - len(MARGIN))
    return "".join(f"{line}\n" for line in ["", *(MARGIN + line for line in lines)])


def _width() -> int:
    return min(shutil.get_terminal_size().columns, WIDEST)
