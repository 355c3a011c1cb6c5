"""The table of accuracies with their intervals, printed below the table of a report."""

from __future__ import annotations

from collections.abc import Sequence

from bopkit.benchmark.reports.lines import Line, have_several_picture_sets
from bopkit.benchmark.results import BenchmarkRow
from bopkit.text import percent_text

_PICTURES = "accuracy on"
_UNKNOWN = "-"

TEXT_HEADINGS = ("artifact", _PICTURES)
"""Above texts; the second is there only where accuracy was measured on several sets of pictures."""

NUMBER_HEADINGS = ("top-1, 95 %", "top-5, 95 %", "agreement, 95 %", "loss", "calibration error", "pictures/s")


def accuracy_table(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the table, each accuracy of a file once, without columns that would say nothing.

    Args:
        lines: Of the report's table; those without accuracy are left out.

    Returns:
        Headings, of `TEXT_HEADINGS` and `NUMBER_HEADINGS`, and the cells of each line; no lines without any accuracy.
    """
    found: dict[tuple[str, ...], str] = {}
    for line in lines:
        row = line.row
        if row.top1 is not None:
            figures = (line.file_label, line.pictures_text, *_figures(row))
            if found.get(figures, _UNKNOWN) == _UNKNOWN:  # a line that took its accuracy from another has no speed
                found[figures] = _speed_text(row)
    table = [[*texts, speed] for texts, speed in found.items()]
    headings = [*TEXT_HEADINGS, *NUMBER_HEADINGS]
    has_several_sets = have_several_picture_sets(lines)

    def is_needed(number: int) -> bool:
        if headings[number] == _PICTURES:
            return has_several_sets
        return any(cells[number] != _UNKNOWN for cells in table)

    needed = list(filter(is_needed, range(len(headings))))
    return [headings[number] for number in needed], [[cells[number] for number in needed] for cells in table]


def _figures(row: BenchmarkRow) -> list[str]:
    return [
        _interval_text(row.top1_interval),
        _interval_text(row.top5_interval),
        _interval_text(row.top1_agreement_interval),
        _UNKNOWN if row.loss is None else f"{row.loss:.4f}",
        percent_text(row.calibration_error),
    ]


def _speed_text(row: BenchmarkRow) -> str:
    return _UNKNOWN if row.images_per_second is None else f"{row.images_per_second:,.0f}"


def _interval_text(interval: tuple[float, float] | None) -> str:
    return _UNKNOWN if interval is None else f"{100 * interval[0]:.2f} to {percent_text(interval[1])}"
