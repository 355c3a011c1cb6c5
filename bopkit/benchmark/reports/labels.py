"""What lines of a report are called in sentences and lists, and which of them a note is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bopkit.benchmark.reports.table import Line, on_cores_text
from bopkit.benchmark.results import LOCAL
from bopkit.text import threads_text


def file_names(lines: Sequence[Line]) -> list[str]:
    """What to call the file of each line: its path, and its device where another file has the same path elsewhere."""
    contents: dict[str, set[str | int]] = {}
    for row in (line.entry.row for line in lines):
        known = row.model_sha256 or row.size_bytes
        contents.setdefault(row.artifact, set()).update([] if known is None else [known])
    names = [(line.entry.row.artifact, line.device) for line in lines]
    return [f"{name} on {device}" if len(contents[name]) > 1 else name for name, device in names]


def row_names(lines: Sequence[Line]) -> list[str]:
    """What to call each line in a sentence: `a.tflite on ssh://pi@board, 4 threads`.

    A device other than this host is always named; threads, runtime and cores where they tell lines of one artifact and
    device apart.
    """
    return [_joined(line.entry.row.artifact, _places(line, lines)) for line in lines]


def noted(lines: Sequence[Line]) -> list[tuple[tuple[int, ...], str, str]]:
    """The notes of the lines, each note of an artifact once.

    Returns:
        Numbers of the lines that have it, from 1; what to call them in a sentence: the artifact alone where the note is
        true of several lines and of all that were measured; and the note.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for number, line in enumerate(lines, start=1):
        for note in dict.fromkeys(line.entry.row.notes):
            found.setdefault((line.entry.row.artifact, note), []).append(number)
    return [
        (tuple(numbers), _shared_name(artifact, note, numbers, lines), note)
        for (artifact, note), numbers in found.items()
    ]


def _shared_name(artifact: str, note: str, numbers: Sequence[int], lines: Sequence[Line]) -> str:
    newest = lines[numbers[0] - 1].entry.newest
    true_of = set(numbers)
    if note == newest.donor_note:  # which says nothing new of the rows of that result itself
        origins = enumerate((line.entry.newest.accuracy_report for line in lines), start=1)
        true_of |= {number for number, report in origins if report is newest.accuracy_report}
    rows = enumerate((line.entry.row for line in lines), start=1)
    measured = {number for number, row in rows if row.artifact == artifact and row.error is None}
    if len(numbers) > 1 and measured <= true_of:
        return artifact
    first, *others = (_places(lines[number - 1], lines) for number in numbers)
    return "; ".join([_joined(artifact, first), *map(", ".join, others)])


def _places(line: Line, lines: Sequence[Line]) -> list[str]:
    """Where and how a line was measured, as far as it has to be said; empty for the only one of an artifact here."""
    same = _of_artifact(line.entry.row.artifact, lines)
    on_device = [each for each in same if each.device == line.device]
    is_plain = line.device == LOCAL and len(on_device) == len(same)
    places = [] if is_plain else [f"on {line.device}"]
    for fact, text in _FACTS:
        if len({fact(each) for each in on_device}) > 1 and fact(line) is not None:
            places.append(text(line))
    return places


def _of_artifact(artifact: str, lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line.entry.row.artifact == artifact]


def _joined(artifact: str, places: Sequence[str]) -> str:
    comma = "," if places and not places[0].startswith("on ") else ""
    return " ".join([artifact + comma, *([", ".join(places)] if places else [])])


_FACTS: tuple[tuple[Callable[[Line], object], Callable[[Line], str]], ...] = (
    (lambda line: line.entry.row.threads, lambda line: threads_text(line.entry.row.threads or 0)),
    (lambda line: line.entry.row.runtime or None, lambda line: line.entry.row.runtime),
    (
        lambda line: line.entry.newest.cpu_mask or "all",
        lambda line: on_cores_text(mask) if (mask := line.entry.newest.cpu_mask) else "on all cores",
    ),
)
"""What tells lines of one artifact and device apart, None where it is not known, and how to say it."""
