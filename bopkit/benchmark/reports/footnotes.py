"""The notes below a table: each once, with the lines that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bopkit.benchmark.reports.labels import sentence_label
from bopkit.benchmark.reports.lines import Line


class Footnote(NamedTuple):
    """A note of one or several lines of an artifact.

    Attributes:
        numbers: Of the lines, from 1.
        label: What to call these lines: the artifact alone where the note is true of several lines and of all that
            were measured.
        text: The note.
    """

    numbers: tuple[int, ...]
    label: str
    text: str


def footnotes(lines: Sequence[Line]) -> list[Footnote]:
    """The notes of the lines, each note of an artifact once."""
    found: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        for note in dict.fromkeys(line.row.notes):
            found.setdefault((line.row.artifact, note), []).append(line)
    return [
        Footnote(tuple(line.number for line in noted), _label(note, noted, lines), note)
        for (_, note), noted in found.items()
    ]


def _label(note: str, noted: Sequence[Line], lines: Sequence[Line]) -> str:
    first = noted[0]
    true_of = {line.number for line in noted}
    if note == first.accuracy_note:  # which says nothing new of the rows of that result itself
        true_of |= {line.number for line in lines if line.accuracy_report is first.accuracy_report}
    measured = {line.number for line in lines if line.row.artifact == first.row.artifact and line.row.error is None}
    return first.row.artifact if len(noted) > 1 and measured <= true_of else sentence_label(noted, lines)
