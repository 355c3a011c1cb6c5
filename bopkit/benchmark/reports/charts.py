"""The charts of a report's page: what is drawn of its lines, with the texts beside them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from bopkit.benchmark.reports import svg
from bopkit.benchmark.reports.choices import Choice, choose, has_accuracy
from bopkit.benchmark.reports.lines import Line, have_several_picture_sets
from bopkit.benchmark.reports.merging import MergedReport
from bopkit.benchmark.results import BenchmarkReport, BenchmarkRow
from bopkit.metrics import balanced_accuracy
from bopkit.text import ms_text, percent_text, size_text

MOST_BARS = 40
"""Steps and layers of one artifact; the smaller ones are added up."""
MOST_CLASSES = 20
"""Classes of one artifact; of more, the worst ones are named."""
MOST_CONFUSIONS = 10


_Part = tuple[str, float, bool]
"""Name and value of a step or layer, and whether it is bit-packed."""


class Bar(NamedTuple):
    """A bar with the texts before and behind it; those of packed layers have another colour, and say so."""

    name: str
    chart: Element
    text: str
    is_packed: bool = False


class BarChart(NamedTuple):
    """Bars of one artifact below a title, and a text beside that."""

    title: str
    text: str
    bars: list[Bar]


class Distribution(NamedTuple):
    """How the latencies of one line are distributed: `spread` says in words how far."""

    line: Line
    spread: str
    chart: Element


class ClassChart(NamedTuple):
    """Accuracy by class of a file.

    Attributes:
        title: The file, and the dataset where there are several.
        text: What is known of all classes.
        bars: Of each class, or of the worst ones.
        is_cut: Whether it is only these.
        confusions: The most frequent ones: class, what it is taken for, number of pictures.
    """

    title: str
    text: str
    bars: list[Bar]
    is_cut: bool
    confusions: list[tuple[str, str, int]]


def series_names(lines: Sequence[Line]) -> list[str]:
    """What has a colour and shape of its own: each device, or where networks have variants, each of these."""
    return list(dict.fromkeys(_series_name(line, lines) for line in lines))


def series_numbers(lines: Sequence[Line]) -> dict[int, int]:
    """The index of each line's series in `series_names`, by the line's number."""
    names = series_names(lines)
    return {line.number: names.index(_series_name(line, lines)) for line in lines}


def _series_name(line: Line, lines: Sequence[Line]) -> str:
    if not line.row.variant:
        return line.device_label
    is_only_device = all(each.device_label == line.device_label for each in lines)
    return line.row.variant if is_only_device else f"{line.row.variant}, {line.device_label}"


class Scatter(NamedTuple):
    """Accuracy (or size) against latency.

    Attributes:
        dataset: Of the accuracy; empty for size.
        wide: The chart with names.
        narrow: The same for a phone, with the numbers of the names alone.
        names: Number and name of each point.
    """

    dataset: str
    wide: Element
    narrow: Element
    names: list[tuple[int, str]]


def scatter_file(merged: MergedReport, title: str) -> str | None:
    """The page's chart of accuracy (or size) against latency as an SVG file; None where nothing was measured."""
    points = _points(merged.lines, choose(merged.lines))
    if not points:
        return None
    chart = _scatter(next(iter(points.values())), merged.lines, svg.IN_FILE, series_names(merged.lines))
    return svg.to_file(chart, title)


def scatter_charts(lines: Sequence[Line], choices: Mapping[tuple[str, str], Sequence[Choice]]) -> list[Scatter]:
    """The charts of each dataset, or of size against latency where nothing has an accuracy.

    Args:
        lines: Of the table.
        choices: What `choose` says of them.
    """
    return [
        Scatter(
            dataset,
            _scatter(points, lines, svg.WIDE),
            _scatter(points, lines, svg.NARROW),
            [(point.number, point.name) for point in points],
        )
        for dataset, points in _points(lines, choices).items()
    ]


def _scatter(points: Sequence[svg.Point], lines: Sequence[Line], width_px: int, legend: Sequence[str] = ()) -> Element:
    y_text, limits = ("top-1 (%)", (0.0, 100.0)) if has_accuracy(lines) else ("size (MB)", (0.0, float("inf")))
    return svg.scatter(points, "p50 latency (ms)", y_text, limits, legend, width_px)


def _points(lines: Sequence[Line], choices: Mapping[tuple[str, str], Sequence[Choice]]) -> dict[str, list[svg.Point]]:
    """What is drawn, by dataset."""
    by_accuracy, numbers = has_accuracy(lines), series_numbers(lines)
    points: dict[str, list[svg.Point]] = {}
    for group, ((_, name), members) in enumerate(choices.items()):
        of_dataset = points.setdefault(name if by_accuracy else "", [])
        for choice in sorted(members, key=lambda each: each.line.number):
            series = numbers[choice.line.number]
            of_dataset.append(_point(choice.line, by_accuracy, series, group, choice.beaten_by is None))
    return points


def _point(line: Line, by_accuracy: bool, series: int, group: int, is_on_front: bool) -> svg.Point:
    row = line.row
    assert row.latency_ms_p50 is not None
    interval = None
    if by_accuracy:
        assert row.top1 is not None
        y = 100 * row.top1
        interval = row.top1_interval and (100 * row.top1_interval[0], 100 * row.top1_interval[1])
    else:
        assert row.size_bytes is not None
        y = row.size_bytes / 1e6
    name = line.label.replace(f" ({row.variant})", "")  # the series tells the variant
    figures = [f"p50 {ms_text(row.latency_ms_p50)} ms", size_text(row.size_bytes)]
    if row.top1 is not None:
        figures.insert(0, f"top-1 {percent_text(row.top1)}")
    title = f"{line.number} {line.label}, {line.device_label}: {', '.join(figures)}"
    return svg.Point(row.latency_ms_p50, y, interval, series, group, line.number, name, title, is_on_front)


def size_bars(lines: Sequence[Line]) -> list[Bar]:
    """A bar a file, with a line at its floor: the same file on several devices has one size."""
    found = {line.file_label: line for line in lines if line.row.size_bytes}
    whole = max((max(line.row.size_bytes or 0, line.row.floor_bytes or 0) for line in found.values()), default=0)
    bars = []
    for name, line in found.items():
        size = line.row.size_bytes or 0
        text = size_text(size) + ("" if line.over_floor is None else f", {line.over_floor:.2f} x the floor")
        bars.append(Bar(name, svg.bar(size, whole, 0, text, line.row.floor_bytes), text))
    return bars


def latency_bars(lines: Sequence[Line]) -> dict[str, list[Bar]]:
    """A bar a line to its p50, with a line across at p99; by device, each on a scale of its own.

    Where a binary prints no percentiles, the bar goes to the mean, and says so.
    """
    numbers = series_numbers(lines)
    of_device: dict[str, list[Line]] = {}
    for line in lines:
        if _bar_ms(line.row) > 0:
            of_device.setdefault(line.device_label, []).append(line)
    found = {}
    for device, members in of_device.items():
        whole = max(value for line in members for value in (_bar_ms(line.row), *_percentiles(line.row).values()))
        found[device] = [_latency_bar(line, whole, numbers[line.number]) for line in members]
    return found


def instruction_bars(lines: Sequence[Line]) -> list[Bar]:
    """A bar a line to its instructions on an emulated microcontroller, all on one scale."""
    numbers, counted = series_numbers(lines), [line for line in lines if line.row.instructions]
    whole = max((line.row.instructions or 0 for line in counted), default=0)
    bars = []
    for line in counted:
        text = f"{line.row.instructions:,}"
        chart = svg.bar(line.row.instructions or 0, whole, numbers[line.number], text)
        bars.append(Bar(f"{line.label}, {line.device_label}", chart, text))
    return bars


def _bar_ms(row: BenchmarkRow) -> float:
    """Where the bar of a row ends; 0 where nothing was measured."""
    figure = row.latency_ms_mean if row.latency_ms_p50 is None else row.latency_ms_p50
    return figure or 0.0


def _latency_bar(line: Line, whole: float, series: int) -> Bar:
    row, known = line.row, _percentiles(line.row)
    if "p50" not in known:
        text = f"mean {_time_text(_bar_ms(row))}"
        return Bar(line.label, svg.bar(_bar_ms(row), whole, series, text), text)
    text = f"{' / '.join(map(ms_text, known.values()))} ms"
    chart = svg.bar(_bar_ms(row), whole, series, f"{' / '.join(known)}: {text}", row.latency_ms_p99)
    return Bar(line.label, chart, text if len(known) == _PERCENTILES else f"{' / '.join(known)} {text}")


_PERCENTILES = 3
"""As many as the heading of the bars names."""


def _percentiles(row: BenchmarkRow) -> dict[str, float]:
    """Those that were measured, by name."""
    values = {"p50": row.latency_ms_p50, "p90": row.latency_ms_p90, "p99": row.latency_ms_p99}
    return {name: value for name, value in values.items() if value is not None}


def distributions(lines: Sequence[Line]) -> list[Distribution]:
    """The histogram of each line that has samples."""
    numbers = series_numbers(lines)
    found = []
    for line in lines:
        samples, marks = line.row.samples_ms, _percentiles(line.row)
        if len(samples) < 2 or not marks or min(samples) < 0:
            continue
        spread = f"{len(samples):,} runs, "
        if min(samples) == max(samples):
            spread += f"all of them {ms_text(samples[0])} ms"
        else:
            spread += f"standard deviation {ms_text(statistics.pstdev(samples))} ms"
        values = ", ".join(f"{name} {ms_text(value)} ms" for name, value in marks.items())
        title = f"Distribution of {len(samples)} runs: {values}"
        chart = svg.histogram(samples, list(marks.items()), numbers[line.number], title)
        found.append(Distribution(line, spread, chart))
    return found


def step_charts(lines: Sequence[Line]) -> list[BarChart]:
    """The time of each step of an inference, a chart a line."""
    found = []
    for line in lines:
        parts = [(step.name, step.latency_ms_mean, False) for step in line.row.steps]
        if parts:
            text = f"{_time_text(_total(parts))} in {len(parts)} steps"
            title = f"{line.label}, {line.device_label}"
            found.append(BarChart(title, text, _bars_of_parts(parts, "steps", _time_text)))
    return found


def layer_charts(lines: Sequence[Line]) -> list[BarChart]:
    """The size of each layer, a chart a file, on however many devices it is."""
    found = {}
    for line in lines:
        parts = [(layer.name, float(layer.size_bytes), layer.is_packed) for layer in line.row.layers]
        if parts:
            total, packed = _total(parts), _total([each for each in parts if each[2]])
            text = f"{size_text(total)}, {_share(packed, total)} of it bit-packed"
            found[line.file_label] = BarChart(line.file_label, text, _bars_of_parts(parts, "layers", size_text))
    return list(found.values())


def class_charts(lines: Sequence[Line]) -> list[ClassChart]:
    """Accuracy by class, a chart a file and dataset: accuracy is measured on one host."""
    found = {}
    has_several = have_several_picture_sets(lines)
    for line in lines:
        row, report, pictures = line.row, line.accuracy_report, line.pictures_text
        known = [(index, value) for index, value in enumerate(row.class_top1) if value is not None]
        if not known and not row.confusion:
            continue
        is_cut = len(known) > MOST_CLASSES
        shown = sorted(known, key=lambda each: each[1])[:MOST_CLASSES] if is_cut else known
        wrong = sorted((each for each in row.confusion if each[0] != each[1]), key=lambda each: -each[2])
        found[line.file_label, pictures] = ClassChart(
            title=f"{line.file_label} on {pictures}" if has_several and pictures else line.file_label,
            text=_classes_text(row, [value for _, value in known]),
            bars=[_bar(_class_name(report, index), value, 1.0, percent_text(value)) for index, value in shown],
            is_cut=is_cut,
            confusions=[
                (_class_name(report, a), _class_name(report, b), count) for a, b, count in wrong[:MOST_CONFUSIONS]
            ],
        )
    return list(found.values())


def _classes_text(row: BenchmarkRow, values: Sequence[float]) -> str:
    texts = []
    if values:
        worst, median = percent_text(min(values)), percent_text(statistics.median(values))
        balanced = percent_text(balanced_accuracy(values))
        texts.append(
            f"{len(values)} classes, the worst {worst}, the median {median}, the mean (balanced accuracy) {balanced}"
        )
    if row.top1 is not None and row.top1_interval is not None:
        low, high = map(percent_text, row.top1_interval)
        texts.append(f"top-1 {percent_text(row.top1)} (95 % from {low} to {high})")
    if row.loss is not None:
        texts.append(f"loss {row.loss:.4f}")
    if row.calibration_error is not None:
        texts.append(f"expected calibration error {percent_text(row.calibration_error)}")
    return "; ".join(texts)


def _class_name(report: BenchmarkReport, index: int) -> str:
    return report.class_names[index] if 0 <= index < len(report.class_names) else f"class {index}"


def _bars_of_parts(parts: Sequence[_Part], kind: str, text_of: Callable[[float], str]) -> list[Bar]:
    """A bar a part, with its share of all; the smallest parts are added up where there are too many.

    Args:
        parts: What a whole is made of.
        kind: What they are called.
        text_of: A value for a person.
    """
    total, shown = _total(parts), _largest(parts, kind)
    whole = max(value for _, value, _ in shown)
    return [
        _bar(name, value, whole, f"{text_of(value)}, {_share(value, total)}", is_packed)
        for name, value, is_packed in shown
    ]


def _bar(name: str, value: float, whole: float, text: str, is_packed: bool = False) -> Bar:
    chart = svg.bar(max(value, 0.0), whole, 2 if is_packed else 0, text, is_pale=not is_packed)
    return Bar(name, chart, text, is_packed)


def _largest(parts: Sequence[_Part], kind: str) -> list[_Part]:
    """The parts in their order, without the smallest where there are too many: these as one."""
    if len(parts) <= MOST_BARS:
        return list(parts)
    limit = sorted((value for _, value, _ in parts), reverse=True)[MOST_BARS - 1]
    kept = [each for each in parts if each[1] >= limit][:MOST_BARS]
    return [*kept, (f"{len(parts) - len(kept)} smaller {kind}", _total(parts) - _total(kept), False)]


def _total(parts: Sequence[_Part]) -> float:
    return sum(value for _, value, _ in parts)


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _time_text(value_ms: float) -> str:
    return f"{ms_text(value_ms)} ms"
