"""Charts as SVG without scripts: a scatter plot, a bar and a histogram.

Places are percent across and pixels down, so that text keeps its size at any width. Elements are made by ElementTree,
which escapes: names in a chart may be a stranger's.
"""

from __future__ import annotations

import importlib.resources
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from bopkit.benchmark.reports.axis import Axis, make_axis, number_text
from bopkit.benchmark.reports.bins import latency_bins
from bopkit.benchmark.reports.placing import CHARACTER, Box, Label, Place, place_labels
from bopkit.text import printable

SERIES = 6
"""Colours and shapes that can be told apart; further series begin anew."""

_SHAPES = (
    "M0-5.5A5.5 5.5 0 1 1 0 5.5A5.5 5.5 0 1 1 0-5.5Z",  # circle
    "M-5-5H5V5H-5Z",  # square
    "M0-6.5L6.5 5H-6.5Z",  # triangle
    "M0-7L7 0L0 7L-7 0Z",  # diamond
    "M0 6.5L-6.5-5H6.5Z",  # triangle on its tip
    "M-2-6.5H2V-2H6.5V2H2V6.5H-2V2H-6.5V-2H-2Z",  # cross
)

LEFT, RIGHT = 9.0, 97.0
"""Of a scatter plot, in percent of the width."""

HEIGHT, TOP, BOTTOM = 400, 30, 356
"""Of a scatter plot, in pixels."""

FILE_WIDTH = 820
"""Pixels of an SVG file."""

IN_FILE, WIDE, NARROW = 795, 590, 320
"""Least pixels of the chart in a file, of that with names in a page, and of that without, for phones: labels that do
not meet at a width do not meet at larger ones."""

MOST_NAMES = 14
"""Points beyond so many carry their number only."""

_TICK_GAP = 8
"""Pixels between the texts of two ticks."""


class Point(NamedTuple):
    """One point of a scatter plot; `number` and `name` label it.

    Points of one `group` compete: a front is drawn through those that are on it. The interval is (low, high) in the
    unit of the axis, or None.
    """

    x: float
    y: float
    y_interval: tuple[float, float] | None
    series: int
    group: int
    number: int
    name: str
    title: str
    is_on_front: bool


def scatter(
    points: Sequence[Point],
    x_text: str,
    y_text: str,
    y_limits: tuple[float, float],
    series_names: Sequence[str] = (),
    width_px: int = IN_FILE,
) -> ElementTree.Element:
    """Points of two figures with error bars, and the Pareto front of each group as a dashed line.

    Where a group has points of several series, the line joins them all.

    Args:
        points: What is drawn; those on the front of their group are filled.
        x_text: Name and unit of the figure across; less is better.
        y_text: Name and unit of the figure down.
        y_limits: What the axis down never passes.
        series_names: Drawn as a legend below; empty for a chart whose page has one.
        width_px: The least that it is shown with; labels have names from `WIDE` on.
    """
    x_axis = make_axis([each.x for each in points])
    ends = [end for each in points for end in (each.y, *(each.y_interval or ()))]
    y_axis = make_axis(ends, limits=y_limits, may_be_log=y_limits[1] == math.inf)

    def across(value: float) -> float:
        return LEFT + x_axis.share(value) * (RIGHT - LEFT)

    def down(value: float) -> float:
        return BOTTOM - y_axis.share(value) * (BOTTOM - TOP)

    chart = _chart(HEIGHT + 20 * len(series_names), f"{y_text} against {x_text} of {len(points)} rows")
    for value, text in y_axis.ticks():
        _add_line(chart, "grid", (LEFT, down(value)), (RIGHT, down(value)))
        _add_text(chart, LEFT - 1, down(value) + 4, text, "end", "soft")
    for value, text in _apart(x_axis.ticks(), lambda value: across(value) / 100 * width_px):
        _add_line(chart, "grid", (across(value), TOP), (across(value), BOTTOM))
        _add_text(chart, across(value), BOTTOM + 17, text, "middle", "soft")
    _add_line(chart, "axis", (LEFT, BOTTOM), (RIGHT, BOTTOM))
    _add_text(chart, 0, 14, y_text + (", logarithmic" if y_axis.is_log else ""), css="strong")
    _add_text(chart, RIGHT, BOTTOM + 36, x_text + (", logarithmic" if x_axis.is_log else ""), "end", "strong")

    places = [(across(each.x), down(each.y)) for each in points]
    lines = _fronts(points, places)
    for css, start, end in lines:
        _add_line(chart, css, start, end)
    for point, (x, _) in zip(points, places, strict=True):
        if point.y_interval is not None:
            low, high = map(down, point.y_interval)
            lines.append((f"whisker {series_class(point.series)}", (x, low), (x, high)))
            _add_line(chart, *lines[-1])
    marks = [_pixels(place, width_px) for place in places]
    segments = [(_pixels(start, width_px), _pixels(end, width_px)) for _, start, end in lines]
    texts = [_label_texts(each, width_px >= WIDE and len(points) <= MOST_NAMES) for each in points]
    labels = place_labels(marks, texts, segments, Box(LEFT / 100 * width_px, TOP - 12, width_px, BOTTOM - 2))
    _add_points(chart, points, places, labels)
    for index, name in enumerate(series_names):
        y = HEIGHT + 20 * index + 4
        _add_marker(chart, LEFT, y, index, "mark")
        _add_text(chart, LEFT + 2, y + 4, name)
    return chart


def bar(
    value: float, whole: float, series: int, title: str, limit: float | None = None, is_pale: bool = False
) -> ElementTree.Element:
    """One bar, with a line across it at a limit; `whole` is what takes the full width."""
    chart = _chart(16, title)
    width = 100 * value / whole if whole > 0 else 0
    css = f"bar {series_class(series)}{' pale' if is_pale else ''}"
    _add(chart, "rect", css, x=0, y=2, width=_percent(max(width, 0.15)), height=12)
    if limit is not None and whole > 0:
        _add_line(chart, "limit", (100 * limit / whole, 0), (100 * limit / whole, 16))
    return chart


def histogram(
    samples: Sequence[float], marks: Sequence[tuple[str, float]], series: int, title: str
) -> ElementTree.Element:
    """How often which latency was measured, up to the 99.5th percentile and the last mark, and the marks.

    Args:
        samples: In milliseconds; at least one.
        marks: Name and value of each, at most three.
        series: Its colour.
        title: For who cannot see it.
    """
    high = max(float(np.percentile(samples, 99.5)), *(value for _, value in marks))
    edges, counts = latency_bins(np.asarray(samples, float), high)
    low, high = float(edges[0]), max(float(edges[-1]), high)
    room = (high - low) * (0.04 if len(counts) > 1 else 4)
    axis = Axis(low - room, high + room)
    places = [1000 * axis.share(float(edge)) for edge in edges]
    heights = 64 * counts / counts.max()
    outline = "".join(f"V{66 - height:.1f}H{end:.1f}" for height, end in zip(heights, places[1:], strict=True))

    chart = _chart(132, title)
    box = {"viewBox": "0 0 1000 66", "preserveAspectRatio": "none"}
    plot = _add(chart, "svg", "", x=0, y=44, width="100%", height=66, **box)
    _add(plot, "path", f"area {series_class(series)}", d=f"M{places[0]:.1f} 66{outline}V66Z")
    _add_line(chart, "axis", (0, 110), (100, 110))
    for value, text in axis.ticks(most=4):
        _add_text(chart, 100 * axis.share(value), 125, text, "middle", "soft")
    for number, (name, value) in enumerate(marks):
        place, y = 100 * axis.share(value), 11 + 13 * number
        _add_line(chart, f"whisker {series_class(series)}", (place, y + 3), (place, 110))
        anchor = "end" if place > 70 else "start" if place < 13 else "middle"
        _add_text(chart, place, y, f"{name} {number_text(value, 4)}", anchor, "label")
    return chart


def key(series: int) -> ElementTree.Element:
    """The shape of a series for a legend in HTML."""
    chart = ElementTree.Element("svg", {"class": "chart key", "viewBox": "-8 -8 16 16", "aria-hidden": "true"})
    _add(chart, "path", f"mark {series_class(series)}", d=_SHAPES[series % SERIES])
    return chart


def series_class(series: int) -> str:
    """The class of a series' colour."""
    return f"s{series % SERIES}"


def css() -> str:
    """The styles of charts, with colours for light and dark."""
    return (importlib.resources.files("bopkit.benchmark.reports") / "charts.css").read_text()


def to_text(element: ElementTree.Element) -> str:
    """The element as SVG inside HTML."""
    return ElementTree.tostring(element, encoding="unicode", short_empty_elements=True)


def to_file(element: ElementTree.Element, title: str) -> str:
    """The element as an SVG file of its own, with its styles."""
    size = {"width": str(FILE_WIDTH), "height": str(int(element.get("height", HEIGHT)) + 40)}
    root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "class": "chart", **size, "role": "img"})
    ElementTree.SubElement(root, "title").text = printable(title)
    ElementTree.SubElement(root, "style").text = css()
    _add(root, "rect", "", x=0, y=0, width="100%", height="100%", style="fill:var(--paper)")
    _add_text(root, 1.5, 20, title, css="strong")
    element.attrib |= {"x": "1.5%", "y": "34", "width": "97%"}
    root.append(element)
    return to_text(root) + "\n"


def _chart(height: int, title: str) -> ElementTree.Element:
    chart = ElementTree.Element(
        "svg",
        {"class": "chart", "width": "100%", "height": str(height), "role": "img", "aria-label": printable(title)},
    )
    ElementTree.SubElement(chart, "title").text = printable(title)
    return chart


def _pixels(place: Place, width_px: int) -> Place:
    return place[0] / 100 * width_px, place[1]


def _fronts(points: Sequence[Point], places: Sequence[Place]) -> list[tuple[str, Place, Place]]:
    """Style, start and end of the lines of each group."""
    lines: list[tuple[str, Place, Place]] = []
    for group in sorted({each.group for each in points}):
        members = [(each, place) for each, place in zip(points, places, strict=True) if each.group == group]
        series = {each.series for each, _ in members}
        if len(series) == 1:  # steps: between two points of a front nothing better is known than the one before
            css = f"front {series_class(series.pop())}"
            front = sorted(place for each, place in members if each.is_on_front)
            for (x1, y1), (x2, y2) in itertools.pairwise(front):
                lines += [(css, (x1, y1), (x2, y1)), (css, (x2, y1), (x2, y2))]
        else:  # variants of one network: what belongs together matters more
            ends = itertools.pairwise(sorted(place for _, place in members))
            lines += [("front", start, end) for start, end in ends]
    return lines


def _label_texts(point: Point, has_name: bool) -> list[str]:
    """What its label may say: the number before the name, or alone."""
    number = str(point.number)
    return [f"{number} {printable(point.name)}", number] if has_name else [number]


def _apart(ticks: Sequence[tuple[float, str]], place_px: Callable[[float], float]) -> Iterator[tuple[float, str]]:
    """The ticks without those whose texts would touch the one before."""
    end = -math.inf
    for value, text in ticks:
        half = len(text) * CHARACTER / 2
        if place_px(value) - half >= end + _TICK_GAP:
            yield value, text
            end = place_px(value) + half


def _add_points(
    chart: ElementTree.Element,
    points: Sequence[Point],
    places: Sequence[Place],
    labels: Sequence[Label],
) -> None:
    """Lines to labels below all marks; the marks of the front come last, so that no other mark lies over them."""
    drawn = []
    for point, (x, y), label in zip(points, places, labels, strict=True):
        if label.leader is not None:
            right, below = label.leader
            _add(_at(chart, x, y), "line", f"leader {series_class(point.series)}", x1=0, y1=0, x2=right, y2=below)
        group = ElementTree.Element("g")
        drawn.append((point.is_on_front, group))
        ElementTree.SubElement(group, "title").text = printable(point.title)
        _add_marker(group, x, y, point.series, "mark" if point.is_on_front else "open")
        number, _, name = label.text.partition(" ")
        text = _add_text(group, x, y + label.down + 4, number, "start" if label.right > 0 else "end", "strong label")
        text.set("dx", f"{label.right:g}")
        ElementTree.SubElement(text, "tspan", {"class": "name"}).text = f" {name}" if name else ""
    chart.extend(group for _, group in sorted(drawn, key=lambda each: each[0]))


def _add_marker(parent: ElementTree.Element, x: float, y: float, series: int, kind: str) -> None:
    """The shape of a series; `kind` is `mark`, filled, or `open`."""
    _add(_at(parent, x, y), "path", f"{kind} {series_class(series)}", d=_SHAPES[series % SERIES])


def _at(parent: ElementTree.Element, x: float, y: float) -> ElementTree.Element:
    """A part of the chart whose pixels count from a place."""
    return ElementTree.SubElement(parent, "svg", {"x": _percent(x), "y": f"{y:.1f}", "overflow": "visible"})


def _add(parent: ElementTree.Element, tag: str, css: str, **attributes: float | str) -> ElementTree.Element:
    texts = {name: f"{value:.1f}" if isinstance(value, float) else str(value) for name, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, ({"class": css} if css else {}) | texts)


def _add_line(parent: ElementTree.Element, css: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    _add(parent, "line", css, x1=_percent(start[0]), x2=_percent(end[0]), y1=start[1], y2=end[1])


def _add_text(
    parent: ElementTree.Element, x: float, y: float, text: str, anchor: str = "start", css: str = ""
) -> ElementTree.Element:
    element = _add(parent, "text", css, x=_percent(x), y=y)
    if anchor != "start":
        element.set("text-anchor", anchor)
    element.text = printable(text)
    return element


def _percent(value: float) -> str:
    return f"{value:.2f}%"
