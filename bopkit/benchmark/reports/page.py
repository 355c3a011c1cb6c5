"""A report as one page: no script, and no font, style or picture from outside.

Names and errors in results are a stranger's text: Jinja escapes them in the page and ElementTree in its charts, and a
content security policy allows nothing but the page's own styles.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from bopkit.benchmark.reports import svg
from bopkit.benchmark.reports.baseline import Change
from bopkit.benchmark.reports.choices import choose, groups, has_accuracy, on_front, short_names
from bopkit.benchmark.reports.labels import file_names, noted
from bopkit.benchmark.reports.merging import MergedReport
from bopkit.benchmark.reports.rules import Finding
from bopkit.benchmark.reports.table import (
    Line,
    cells,
    columns_for,
    cores_text,
    has_agreement,
    lines_of,
    over_floor,
    picture_sets,
)
from bopkit.benchmark.results import BenchmarkReport, BenchmarkRow
from bopkit.text import ms_text, percent_text, printable, size_text

TEMPLATE = "page.html.jinja"

OPEN_PARTS = 4
"""Parts of a section that are unfolded; beyond, the page would be all bars."""
MOST_BARS = 40
"""Steps and layers of one artifact; the smaller ones are added up."""
MOST_CLASSES = 20
"""Classes of one artifact; of more, the worst ones are named."""
MOST_CONFUSIONS = 10


@dataclasses.dataclass(frozen=True)
class Gain:
    """What one artifact has over another of the same shape.

    Attributes:
        network: Name of the network.
        variant: What the other artifact is, for instance `int8 twin`.
        device: Where both were measured.
        threads: Threads for one picture.
        size_ratio: Size of the other over that of the packed one.
        latency_ratio: p50 of the other over that of the packed one.
    """

    network: str
    variant: str
    device: str
    threads: int | None
    size_ratio: float | None
    latency_ratio: float | None


def render_page(
    merged: MergedReport,
    changes: Sequence[Change | None] | None = None,
    findings: Sequence[Finding] = (),
    gains: Sequence[Gain] = (),
    title: str = "Benchmark",
) -> str:
    """The page as HTML.

    Args:
        merged: The report.
        changes: Of each of its entries, against a baseline; None without one.
        findings: Of `check_rules`.
        gains: Of `compare_models`.
        title: Of the page.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"clean": printable, "cores": cores_text}
    environment.filters |= {"size": size_text, "percent": percent_text, "ms": ms_text}
    source = (importlib.resources.files("bopkit.benchmark.reports") / TEMPLATE).read_text()
    lines = lines_of(merged, changes)
    return environment.from_string(source).render(
        title=title, css=svg.COLOURS_CSS + svg.CHART_CSS, findings=findings, gains=gains, **_sections(merged, lines)
    )


def scatter_file(merged: MergedReport, title: str) -> str | None:
    """The page's chart of accuracy (or size) against latency as an SVG file; None where nothing was measured."""
    lines = lines_of(merged)
    charts = _scatters(lines, with_legend=True)
    return svg.to_file(charts[0][1], title) if charts else None


def _sections(merged: MergedReport, lines: Sequence[Line]) -> dict[str, Any]:
    from markupsafe import Markup

    def drawn(element: Any) -> Markup:
        return Markup(svg.to_text(element))

    columns = columns_for(lines)
    names, numbers = short_names(lines), _series_numbers(lines)
    choices = choose(lines) if len(lines) > 1 else {}
    return {
        "columns": columns,
        "rows": [
            {
                "number": number,
                "cells": cells(columns, line),
                "row": line.entry.row,
                "name": name,
                "key": drawn(svg.key(numbers[number - 1])),
            }
            for number, (line, name) in enumerate(zip(lines, names, strict=True), start=1)
        ],
        "notes": noted(lines),
        "has_floor": any(over_floor(line) is not None for line in lines),
        "has_agreement": has_agreement,
        "devices": list(dict.fromkeys(line.device for line in lines)),
        "series": [(name, drawn(svg.key(number))) for number, name in enumerate(dict.fromkeys(_series_names(lines)))],
        "choices": choices,
        "has_ties": any(choice.is_tie for members in choices.values() for choice in members),
        "by_accuracy": has_accuracy(lines),
        "names": names,
        "scatters": [(dataset, drawn(chart)) for dataset, chart in _scatters(lines, with_legend=False)],
        "sizes": [(name, size, drawn(chart)) for name, size, chart in _sizes(lines)],
        "latencies": _drawn_latencies(lines, names, numbers, drawn),
        "distributions": [(*texts, *map(drawn, charts)) for *texts, charts in _distributions(lines, names, numbers)],
        "steps": [(name, total, _bars(values, drawn)) for name, total, values in _steps(lines, names)],
        "layers": [(name, total, _bars(values, drawn)) for name, total, values in _layers(lines)],
        "classes": [{**each, "bars": _bars(each["bars"], drawn, 1.0)} for each in _classes(lines)],
        "histories": [line for line in lines if line.entry.earlier],
        "has_several_pictures": len(picture_sets(lines, of_earlier=True)) > 1,
        "sources": merged.sources,
        "environments": _environments(merged.sources),
        "dates": _dates(lines),
        "open_parts": OPEN_PARTS,
    }


def _dates(lines: Sequence[Line]) -> list[str]:
    """The first and the last day, or the only one."""
    dates = sorted(line.entry.newest.date for line in lines)
    return list(dict.fromkeys(f"{date:%Y-%m-%d}" for date in dates[:1] + dates[-1:]))


def _series_numbers(lines: Sequence[Line]) -> list[int]:
    """The number of each line's series, for its colour and shape."""
    names = _series_names(lines)
    return [list(dict.fromkeys(names)).index(name) for name in names]


def _series_names(lines: Sequence[Line]) -> list[str]:
    """The series of each line: its device, or where networks have variants, each of them."""
    devices = {line.device for line in lines}
    names = []
    for line in lines:
        variant = line.entry.row.variant
        names.append(", ".join([variant, *([line.device] if len(devices) > 1 else [])]) if variant else line.device)
    return names


def _scatters(lines: Sequence[Line], with_legend: bool) -> list[tuple[str, Any]]:
    """A chart a dataset, or one of size against latency where nothing has an accuracy."""
    by_accuracy = has_accuracy(lines)
    names, numbers = short_names(lines), _series_numbers(lines)
    front = on_front(lines)
    points: dict[str, list[svg.Point]] = {}
    for group, ((device, name), members) in enumerate(groups(lines).items()):
        dataset = name if by_accuracy else ""
        for number, line in members:
            title = f"{number} {names[number - 1]}, {device}: {_facts(line.entry.row)}"
            point = _point(line.entry.row, by_accuracy)
            # The series tells the variant.
            label = names[number - 1].replace(f" ({line.entry.row.variant})", "")
            points.setdefault(dataset, []).append(
                svg.Point(*point, numbers[number - 1], group, number, label, title, number in front)
            )
    y_text, limits = ("top-1 (%)", (0.0, 100.0)) if by_accuracy else ("size (MB)", (0.0, float("inf")))
    legend = list(dict.fromkeys(_series_names(lines))) if with_legend else []
    return [
        (dataset, svg.scatter(each, "p50 latency (ms)", y_text, limits, series_names=legend))
        for dataset, each in points.items()
    ]


def _point(row: BenchmarkRow, by_accuracy: bool) -> tuple[float, float, tuple[float, float] | None]:
    assert row.latency_ms_p50 is not None
    if not by_accuracy:
        assert row.size_bytes is not None
        return row.latency_ms_p50, row.size_bytes / 1e6, None
    assert row.top1 is not None
    interval = row.top1_interval
    return row.latency_ms_p50, 100 * row.top1, interval and (100 * interval[0], 100 * interval[1])


def _facts(row: BenchmarkRow) -> str:
    facts = [f"p50 {ms_text(row.latency_ms_p50)} ms", size_text(row.size_bytes)]
    if row.top1 is not None:
        facts.insert(0, f"top-1 {percent_text(row.top1)}")
    return ", ".join(facts)


def _sizes(lines: Sequence[Line]) -> list[tuple[str, str, Any]]:
    """A bar a file: the same on several devices has one size."""
    found = {name: line for name, line in zip(file_names(lines), lines, strict=True) if line.entry.row.size_bytes}
    sizes = {name: (line.entry.row.size_bytes or 0, line.entry.row.floor_bytes) for name, line in found.items()}
    largest = max((max(size, floor or 0) for size, floor in sizes.values()), default=0)
    texts = {
        name: "" if (ratio := over_floor(line)) is None else f", {ratio:.2f} x the floor"
        for name, line in found.items()
    }
    return [
        (name, size_text(size) + texts[name], svg.bar(size, largest, 0, f"{size_text(size)}{texts[name]}", floor))
        for name, (size, floor) in sizes.items()
    ]


def _drawn_latencies(lines: Sequence[Line], names: Sequence[str], numbers: Sequence[int], drawn: Any) -> dict[str, Any]:
    timed = [each for each in zip(lines, names, numbers, strict=True) if each[0].entry.row.latency_ms_p50]
    values = [value for line, *_ in timed for value in _percentiles(line.entry.row) if value is not None and value > 0]
    if not values:
        return {"rows": [], "axis": ""}
    axis = svg.make_axis(values, from_zero=True)
    rows = []
    for line, name, number in timed:
        p50, p90, p99 = _percentiles(line.entry.row)
        text = f"{ms_text(p50)} / {ms_text(p90)} / {ms_text(p99)} ms"
        chart = svg.ranges((p50, p90, p99), axis, number, f"p50 / p90 / p99: {text}")
        rows.append((name, line.device, text, drawn(chart)))
    return {"rows": rows, "axis": drawn(svg.axis_row(axis, " ms")), "is_log": axis.is_log}


def _percentiles(row: BenchmarkRow) -> tuple[float | None, float | None, float | None]:
    return row.latency_ms_p50, row.latency_ms_p90, row.latency_ms_p99


def _distributions(
    lines: Sequence[Line], names: Sequence[str], numbers: Sequence[int]
) -> Iterable[tuple[str, str, str, tuple[Any, Any]]]:
    """Of each row its name, device and spread in words, a histogram, and the course of its runs."""
    for line, name, number in zip(lines, names, numbers, strict=True):
        row, samples = line.entry.row, line.entry.row.samples_ms
        marks = [
            (mark, value)
            for mark, value in zip(("p50", "p90", "p99"), _percentiles(row), strict=True)
            if value is not None
        ]
        if len(samples) < 2 or not marks or min(samples) < 0:
            continue
        spread = f"{len(samples):,} runs, standard deviation {ms_text(statistics.pstdev(samples))} ms"
        title = f"Distribution of {len(samples)} runs: " + ", ".join(
            f"{mark} {ms_text(value)} ms" for mark, value in marks
        )
        charts = (
            svg.histogram(samples, sorted(marks, key=lambda each: each[1]), number, title),
            svg.course(
                samples, number, "Latency from the first run to the last, on an axis from 0.8 to 1.25 times the median"
            ),
        )
        yield name, line.device, spread, charts


def _steps(lines: Sequence[Line], names: Sequence[str]) -> list[tuple[str, str, list[tuple[str, str, float, bool]]]]:
    found = []
    for line, name in zip(lines, names, strict=True):
        values = [(step.name, step.latency_ms_mean, False) for step in line.entry.row.steps]
        if values:
            total_ms = sum(value for _, value, _ in values)
            bars = [
                (step, f"{ms_text(ms)} ms, {_share(ms, total_ms)}", ms, mark)
                for step, ms, mark in _largest(values, "steps")
            ]
            found.append((f"{name}, {line.device}", f"{ms_text(total_ms)} ms in {len(values)} steps", bars))
    return found


def _layers(lines: Sequence[Line]) -> list[tuple[str, str, list[tuple[str, str, float, bool]]]]:
    """Of each file once, on however many devices it is."""
    found = {}
    for name, line in zip(file_names(lines), lines, strict=True):
        values = [(layer.name, float(layer.size_bytes), layer.is_packed) for layer in line.entry.row.layers]
        if values:
            total = sum(value for _, value, _ in values)
            packed = sum(value for _, value, is_packed in values if is_packed)
            bars = [
                (layer, f"{size_text(size)}, {_share(size, total)}", size, mark)
                for layer, size, mark in _largest(values, "layers")
            ]
            text = f"{size_text(total)}, {_share(packed, total)} of it bit-packed"
            found[name] = (name, text, bars)
    return list(found.values())


def _largest(values: Sequence[tuple[str, float, bool]], kind: str) -> list[tuple[str, float, bool]]:
    """The values in their order, without the smallest where there are too many: these as one."""
    if len(values) <= MOST_BARS:
        return list(values)
    limit = sorted((value for _, value, _ in values), reverse=True)[MOST_BARS - 1]
    kept = [each for each in values if each[1] >= limit][:MOST_BARS]
    rest = len(values) - len(kept)
    return [
        *kept,
        (f"{rest} smaller {kind}", sum(value for _, value, _ in values) - sum(value for _, value, _ in kept), False),
    ]


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _bars(
    values: Sequence[tuple[str, str, float, bool]], drawn: Any, largest: float | None = None
) -> list[tuple[str, str, bool, Any]]:
    """Name, text, mark and bar of each; marked ones (packed layers) have another colour, and say so.

    A whole bar is `largest`, else the largest value.
    """
    if largest is None:
        largest = max((value for _, _, value, _ in values), default=0.0)
    return [
        (name, text, mark, drawn(svg.bar(max(value, 0.0), largest, 2 if mark else 0, text, is_pale=not mark)))
        for name, text, value, mark in values
    ]


def _classes(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Of each file and dataset once: accuracy is measured on one host."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    has_several = len(picture_sets(lines)) > 1
    for name, line in zip(file_names(lines), lines, strict=True):
        row, report = line.entry.row, line.entry.newest.accuracy_report
        known = [(index, value) for index, value in enumerate(row.class_top1) if value is not None]
        if not known and not row.confusion:
            continue
        worst_first = sorted(known, key=lambda each: each[1])
        shown = known if len(known) <= MOST_CLASSES else worst_first[:MOST_CLASSES]
        wrong = sorted((each for each in row.confusion if each[0] != each[1]), key=lambda each: -each[2])
        pictures = line.entry.newest.pictures_text
        found[name, pictures] = {
            "name": f"{name} on {pictures}" if has_several and pictures else name,
            "text": _classes_text(row, [value for _, value in known]),
            "is_cut": len(shown) < len(known),
            "bars": [(_class_name(report, index), percent_text(value), value, False) for index, value in shown],
            "confusions": [
                (_class_name(report, a), _class_name(report, b), count) for a, b, count in wrong[:MOST_CONFUSIONS]
            ],
        }
    return list(found.values())


def _classes_text(row: BenchmarkRow, values: Sequence[float]) -> str:
    texts = []
    if values:
        worst, median = percent_text(min(values)), percent_text(statistics.median(values))
        texts.append(f"{len(values)} classes, the worst {worst}, the median {median}")
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


def _facts_of(values: dict[str, Any]) -> list[tuple[str, str]]:
    """What is known of a device, by name; versions of packages by the packages' names."""
    versions = values.pop("versions")
    facts = [
        ("CPU" if name == "cpu" else name.removesuffix("_bytes").replace("_", " "), _fact(name, value))
        for name, value in values.items()
    ]
    return [(name, text) for name, text in [*facts, *versions.items()] if text]


def _fact(name: str, value: Any) -> str:
    if value is None or value == {} or value == []:
        return ""
    return size_text(value) if name.endswith("_bytes") else str(value)


def _environments(sources: Sequence[tuple[str, BenchmarkReport]]) -> list[dict[str, Any]]:
    """Each device once, with the dates of the results that it is in."""
    found: dict[Any, dict[str, Any]] = {}
    for _, report in sources:
        for name, environment in report.environments.items():
            values = dataclasses.asdict(environment)
            entry = found.setdefault(
                (name, json.dumps(values, sort_keys=True)), {"name": name, "facts": _facts_of(values), "dates": []}
            )
            entry["dates"].append(report.protocol.date)
    return list(found.values())
