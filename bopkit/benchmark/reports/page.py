"""A report as one page: no script, and no font, style or picture from outside.

Names and errors in results are a stranger's text: Jinja escapes them in the page and ElementTree in its charts, and a
content security policy allows nothing but the page's own styles.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from bopkit.benchmark.reports import charts, svg
from bopkit.benchmark.reports.choices import choose, has_accuracy
from bopkit.benchmark.reports.conditions import has_agreement, has_latency
from bopkit.benchmark.reports.footnotes import footnotes
from bopkit.benchmark.reports.gains import Gain, gain_text
from bopkit.benchmark.reports.labels import cores_text
from bopkit.benchmark.reports.lines import Line, have_several_picture_sets
from bopkit.benchmark.reports.merging import MergedReport
from bopkit.benchmark.reports.rules import Finding
from bopkit.benchmark.reports.table import cells, columns_for
from bopkit.benchmark.results import BenchmarkReport
from bopkit.text import ms_text, percent_text, printable, size_text

TEMPLATE = "page.html.jinja"

OPEN_PARTS = 4
"""Parts of a section that are unfolded; beyond, the page would be all bars."""


def render_page(
    merged: MergedReport, findings: Sequence[Finding] = (), gains: Sequence[Gain] = (), title: str = "Benchmark"
) -> str:
    """The page as HTML.

    Args:
        merged: The report.
        findings: Of `check_rules`.
        gains: Of `compare_models`.
        title: Of the page.
    """
    import jinja2
    from markupsafe import Markup

    def drawn(element: Element) -> Markup:
        return Markup(svg.to_text(element))

    def name(text: str) -> Markup:
        """A name that is broken behind its slashes only, where it has to be, and not at hyphens."""
        *folders, last = printable(text).split("/")
        part = Markup('<span class="part">{}</span>')
        return Markup().join(map(part.format, [*(f"{each}/" for each in folders), last]))

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"clean": printable, "cores": cores_text, "drawn": drawn, "name": name}
    environment.filters |= {"size": size_text, "percent": percent_text, "ms": ms_text, "gain": gain_text}
    source = (importlib.resources.files("bopkit.benchmark.reports") / TEMPLATE).read_text()
    return environment.from_string(source).render(
        title=title, css=svg.css(), findings=findings, gains=gains, **_sections(merged)
    )


def _sections(merged: MergedReport) -> dict[str, Any]:
    lines = merged.lines
    columns, choices, numbers = columns_for(lines), choose(lines), charts.series_numbers(lines)
    return {
        "columns": columns,
        "lines": lines,
        "cells": {line.number: cells(columns, line) for line in lines},
        "keys": {line.number: svg.key(numbers[line.number]) for line in lines},
        "footnotes": footnotes(lines),
        "has_floor": any(line.over_floor is not None for line in lines),
        "has_agreement": has_agreement,
        "devices": list(dict.fromkeys(line.device_label for line in lines)),
        "series": [(name, svg.key(number)) for number, name in enumerate(charts.series_names(lines))],
        "choices": choices if len(lines) > 1 else {},
        "has_ties": any(choice.is_tie for members in choices.values() for choice in members),
        "by_accuracy": has_accuracy(lines),
        "scatters": charts.scatter_charts(lines, choices),
        "sizes": charts.size_bars(lines),
        "latencies": charts.latency_bars(lines),
        "instructions": charts.instruction_bars(lines),
        "has_latency": has_latency,
        "distributions": charts.distributions(lines),
        "steps": charts.step_charts(lines),
        "layers": charts.layer_charts(lines),
        "classes": charts.class_charts(lines),
        "histories": [line for line in lines if line.earlier],
        "has_several_pictures": have_several_picture_sets(each for line in lines for each in (line, *line.earlier)),
        "sources": merged.sources,
        "environments": _environments(merged.sources),
        "dates": _dates(lines),
        "open_parts": OPEN_PARTS,
    }


def _dates(lines: Sequence[Line]) -> list[str]:
    """The first and the last day, or the only one."""
    dates = sorted(line.date for line in lines)
    return list(dict.fromkeys(f"{date:%Y-%m-%d}" for date in dates[:1] + dates[-1:]))


def _environments(sources: Sequence[tuple[str, BenchmarkReport]]) -> list[dict[str, Any]]:
    """Each device once, with the dates of the results that it is in."""
    found: dict[Any, dict[str, Any]] = {}
    for _, report in sources:
        for name, environment in report.environments.items():
            values = dataclasses.asdict(environment)
            identity = name, json.dumps(values, sort_keys=True)
            entry = found.setdefault(identity, {"name": name, "properties": _properties(values), "dates": []})
            entry["dates"].append(report.protocol.date)
    return list(found.values())


def _properties(values: dict[str, Any]) -> list[tuple[str, str]]:
    """What is known of a device, by name; versions of packages by the packages' names."""
    versions = values.pop("versions")
    properties = [
        ("CPU" if name == "cpu" else name.removesuffix("_bytes").replace("_", " "), _property_text(name, value))
        for name, value in values.items()
    ]
    return [(name, text) for name, text in [*properties, *versions.items()] if text]


def _property_text(name: str, value: Any) -> str:
    if value is None or value == {} or value == []:
        return ""
    return size_text(value) if name.endswith("_bytes") else str(value)
