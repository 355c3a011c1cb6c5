"""Charts as SVG without scripts. Places are percent across and pixels down, so that text keeps its size at any width.

Elements are made by ElementTree, which escapes: names in a chart may be a stranger's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from bopkit.text import printable

SERIES = 6
"""Colours and shapes that can be told apart; further devices begin anew."""

_SHAPES = (
    "M0-5.5A5.5 5.5 0 1 1 0 5.5A5.5 5.5 0 1 1 0-5.5Z",  # circle
    "M-5-5H5V5H-5Z",  # square
    "M0-6.5L6.5 5H-6.5Z",  # triangle
    "M0-7L7 0L0 7L-7 0Z",  # diamond
    "M0 6.5L-6.5-5H6.5Z",  # triangle on its tip
    "M-2-6.5H2V-2H6.5V2H2V6.5H-2V2H-6.5V-2H-2Z",  # cross
)

COLOURS_CSS = """
:root { --paper: #fff; --ink: #1b2430; --soft: #566173; --line: #dfe4ec; --band: #f4f6fa;
  --s0: #0062a3; --s1: #b34a00; --s2: #00775a; --s3: #a1447f; --s4: #8a6a00; --s5: #39708f;
  --bad: #b3261e; --good: #00775a }
@media (prefers-color-scheme: dark) {
  :root { --paper: #12161d; --ink: #e6eaf1; --soft: #9fabbd; --line: #2f3846; --band: #1a2029;
    --s0: #5fb4f2; --s1: #ff9a57; --s2: #3ecfa4; --s3: #e795c8; --s4: #e3bd3f; --s5: #8fc7e6;
    --bad: #ff8a80; --good: #3ecfa4 } }
"""
"""Okabe and Ito's hues, which colour-blind readers can tell apart, at a contrast of 4.5 to the paper."""

CHART_CSS = """
svg.chart { display: block; width: 100%; overflow: visible; font: 12px system-ui, sans-serif }
svg.chart text { fill: var(--ink) } svg.chart text.soft { fill: var(--soft) }
svg.chart text.strong { font-weight: 600 }
svg.chart .label { paint-order: stroke; stroke: var(--behind, var(--paper)); stroke-width: 3px; stroke-linejoin: round }
svg.chart .name { font-weight: 400 }
svg.chart .grid { stroke: var(--line) } svg.chart .axis { stroke: var(--soft) }
.s0 { --s: var(--s0) } .s1 { --s: var(--s1) } .s2 { --s: var(--s2) }
.s3 { --s: var(--s3) } .s4 { --s: var(--s4) } .s5 { --s: var(--s5) }
svg.chart .mark { fill: var(--s); stroke: var(--paper); stroke-width: 1 }
svg.chart .open { fill: var(--paper); stroke: var(--s); stroke-width: 1.8 }
svg.chart .whisker { stroke: var(--s); stroke-width: 1.4 }
svg.chart .front { stroke: var(--s, var(--soft)); stroke-width: 1.4; stroke-dasharray: 5 4 }
svg.chart .area { fill: var(--s); fill-opacity: .45 } svg.chart .bar { fill: var(--s) }
svg.chart .bar.pale { fill-opacity: .45 }
svg.chart .limit { stroke: var(--ink); stroke-width: 2 }
@media (max-width: 40rem) { svg.chart .name { display: none } }
"""

LEFT, RIGHT = 9.0, 97.0
"""Of a plot, in percent of the width."""

_NOMINAL_WIDTH_PX = 820
"""Labels are put where they do not meet at this width; narrower pages show their numbers only."""
_CHARACTER_PX, _LABEL_HEIGHT_PX = 6.7, 15

MOST_NAMES = 14
"""Points beyond so many carry their number only."""


class Point(NamedTuple):
    """One point of a scatter chart; `number` and `name` label it.

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


class Axis(NamedTuple):
    """From figures to places: linear or logarithmic."""

    low: float
    high: float
    is_log: bool
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Where a value lies, 0 to 1; beyond the ends, at the end."""
        low, high, value = (
            math.log(max(each, 1e-300)) if self.is_log else each for each in (self.low, self.high, value)
        )
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def labelled_ticks(self) -> list[tuple[float, str]]:
        """The ticks with their texts, of as many digits as tell them apart."""
        texts: list[str] = []
        for digits in range(3, 10):
            texts = [number_text(tick, digits) for tick in self.ticks]
            if len(set(texts)) == len(texts):
                break
        return list(zip(self.ticks, texts, strict=True))


def make_axis(
    values: Iterable[float], *, from_zero: bool = False, may_be_log: bool = True, limits=(-math.inf, math.inf)
):
    """An axis on which all values have room, logarithmic where they span more than a factor of 8.

    Args:
        values: Finite; at least one.
        from_zero: Begin at zero where it is linear.
        may_be_log: Whether it can be logarithmic.
        limits: What the axis never passes.
    """
    known = sorted(values)
    low, high = known[0], known[-1]
    if may_be_log and low > 0 and high / low > 8:
        return Axis(low / 1.25, high * 1.25, True, _log_ticks(low / 1.25, high * 1.25))
    room = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
    low, high = max(limits[0], 0.0 if from_zero else low - room), min(limits[1], high + room)
    return Axis(low, high, False, _linear_ticks(low, high))


def scatter(
    points: Sequence[Point],
    x_text: str,
    y_text: str,
    y_limits: tuple[float, float],
    *,
    series_names: Sequence[str] = (),
) -> ElementTree.Element:
    """Points of two figures with error bars, and the Pareto front of each group as a dashed line.

    Where a group has points of several series, the line joins them all.

    Args:
        points: What is drawn; those on the front of their group are filled.
        x_text: Name and unit of the figure across; less is better.
        y_text: Name and unit of the figure down.
        y_limits: What the axis down never passes.
        series_names: Drawn as a legend below; empty for a chart whose page has one.
    """
    height, top = 400, 30
    bottom = height - 44
    x_axis = make_axis([each.x for each in points])
    ends = [end for each in points for end in (each.y, *(each.y_interval or ()))]
    y_axis = make_axis(ends, limits=y_limits, may_be_log=y_limits[1] == math.inf)
    chart = _chart(height + 20 * len(series_names), f"{y_text} against {x_text} of {len(points)} rows")
    _draw_axes(chart, x_axis, y_axis, (top, bottom), x_text, y_text)

    def place(point: Point) -> tuple[float, float]:
        return _across(x_axis, point.x), bottom - y_axis.share(point.y) * (bottom - top)

    for group in sorted({each.group for each in points}):
        members = [each for each in points if each.group == group]
        series = {each.series for each in members}
        if len(series) == 1:
            front = sorted(place(each) for each in members if each.is_on_front)
            _draw_front(chart, front, f"front {series_class(series.pop())}")
        else:  # variants of one network: what belongs together matters more
            for (x1, y1), (x2, y2) in itertools.pairwise(sorted(map(place, members))):
                _add(chart, "line", "front", x1=_pc(x1), y1=y1, x2=_pc(x2), y2=y2)
    for point in points:
        x, _ = place(point)
        if point.y_interval is not None:
            ends_px = [bottom - y_axis.share(end) * (bottom - top) for end in point.y_interval]
            _add(
                chart,
                "line",
                f"whisker {series_class(point.series)}",
                x1=_pc(x),
                x2=_pc(x),
                y1=ends_px[0],
                y2=ends_px[1],
            )
    _draw_points(chart, points, [place(each) for each in points])
    for index, name in enumerate(series_names):
        y = height + 20 * index + 4
        chart.append(marker(LEFT, y, index, "mark"))
        _text(chart, LEFT + 2, y + 4, name)
    return chart


def ranges(
    values: tuple[float | None, float | None, float | None], axis: Axis, series: int, title: str
) -> ElementTree.Element:
    """One row of a chart of ranges: a mark at the first value, a thick line to the second, a thin one to the third."""
    chart = _chart(18, title)
    for tick in axis.ticks:
        _add(chart, "line", "grid", x1=_pc(100 * axis.share(tick)), x2=_pc(100 * axis.share(tick)), y1=0, y2=18)
    value, middle, last = values
    if value is not None:
        place = 100 * axis.share(value)
        for end, width in ((last, 2), (middle, 6)):
            if end is not None:
                line = _add(
                    chart,
                    "line",
                    f"whisker {series_class(series)}",
                    x1=_pc(place),
                    x2=_pc(100 * axis.share(end)),
                    y1=9,
                    y2=9,
                )
                line.set("style", f"stroke-width:{width}px")
        chart.append(marker(place, 9, series, "mark"))
    return chart


def axis_row(axis: Axis, unit: str) -> ElementTree.Element:
    """The ticks below rows of ranges."""
    chart = _chart(18, "")
    for tick, text in axis.labelled_ticks():
        share = axis.share(tick)
        anchor = "start" if share < 0.04 else "end" if share > 0.93 else "middle"
        _text(chart, 100 * share, 13, f"{text}{unit if tick == axis.ticks[-1] else ''}", anchor, "soft")
    return chart


def bar(
    value: float, largest: float, series: int, title: str, limit: float | None = None, is_pale: bool = False
) -> ElementTree.Element:
    """One bar, with a line where a limit is."""
    chart = _chart(16, title)
    width = 100 * value / largest if largest > 0 else 0
    _add(
        chart,
        "rect",
        f"bar {series_class(series)}{' pale' if is_pale else ''}",
        x=0,
        y=2,
        width=_pc(max(width, 0.15)),
        height=12,
    )
    if limit is not None and largest > 0:
        _add(chart, "line", "limit", x1=_pc(100 * limit / largest), x2=_pc(100 * limit / largest), y1=0, y2=16)
    return chart


BINS = 72


def histogram(
    samples: Sequence[float], marks: Sequence[tuple[str, float]], series: int, title: str
) -> ElementTree.Element:
    """How often which latency was measured, up to the 99.5th percentile and the last mark, and the marks.

    Args:
        samples: In milliseconds; at least one.
        marks: Name and value of each, ascending.
        series: Its colour.
        title: For who cannot see it.
    """
    ordered = sorted(samples)
    low, high = ordered[0], max(ordered[int(0.995 * (len(ordered) - 1))], *(value for _, value in marks))
    room = (high - low) * 0.04 or high * 0.02 or 1.0
    axis = Axis(low - room, high + room, False, _linear_ticks(low - room, high + room, 4))
    counts = [0] * BINS
    for sample in ordered:
        if sample <= axis.high:
            counts[min(BINS - 1, int(axis.share(sample) * BINS))] += 1
    chart = _chart(132, title)
    largest = max(counts) or 1
    plot = _add(
        chart, "svg", "", x=0, y=44, width="100%", height=66, viewBox=f"0 0 {BINS} 66", preserveAspectRatio="none"
    )
    outline = "".join(f"V{66 - 64 * count / largest:.1f}H{index + 1}" for index, count in enumerate(counts))
    _add(plot, "path", f"area {series_class(series)}", d=f"M0 66{outline}V66Z")
    _add(chart, "line", "axis", x1="0", x2="100%", y1=110, y2=110)
    for tick, text in axis.labelled_ticks():
        _text(chart, 100 * axis.share(tick), 125, text, "middle", "soft")
    ends = [-math.inf] * 3  # of the last text in each line
    for name, value in marks:
        share = 100 * axis.share(value)
        anchor, start = (
            ("end", share - 26) if share > 70 else ("start", share) if share < 13 else ("middle", share - 13)
        )
        line = next((line for line, end in enumerate(ends) if end <= start), len(ends) - 1)
        ends[line] = start + 26
        y = 11 + 13 * line
        _add(chart, "line", f"whisker {series_class(series)}", x1=_pc(share), x2=_pc(share), y1=y + 3, y2=110)
        _text(chart, share, y, f"{name} {number_text(value, 4)}", anchor, "label")
    return chart


def course(samples: Sequence[float], series: int, title: str) -> ElementTree.Element:
    """Latency in the order of the runs, a median of each of up to 100 parts; a device that heats up shows."""
    size = -(-len(samples) // 100)
    parts = [sorted(samples[start : start + size]) for start in range(0, len(samples), size)]
    medians = [part[len(part) // 2] for part in parts]
    low, high = (
        min(0.8 * sorted(medians)[len(medians) // 2], *medians),
        max(1.25 * sorted(medians)[len(medians) // 2], *medians),
    )
    chart = _chart(30, title)
    plot = _add(
        chart,
        "svg",
        "",
        x=0,
        y=2,
        width="100%",
        height=26,
        viewBox=f"0 0 {max(len(medians) - 1, 1)} 26",
        preserveAspectRatio="none",
    )
    points = " ".join(
        f"{index},{26 - 26 * (value - low) / (high - low or 1):.1f}" for index, value in enumerate(medians)
    )
    line = _add(plot, "polyline", f"whisker {series_class(series)}", points=points)
    line.set("fill", "none")
    line.set("vector-effect", "non-scaling-stroke")
    return chart


def marker(x: float, y: float, series: int, kind: str) -> ElementTree.Element:
    """The shape of a series; `kind` is `mark`, filled, or `open`."""
    place = ElementTree.Element("svg", {"x": _pc(x), "y": f"{y:.1f}", "overflow": "visible"})
    _add(place, "path", f"{kind} {series_class(series)}", d=_SHAPES[series % SERIES])
    return place


def key(series: int) -> ElementTree.Element:
    """The shape of a series for a legend in HTML."""
    chart = ElementTree.Element(
        "svg", {"class": "chart key", "width": "16", "height": "16", "viewBox": "-8 -8 16 16", "aria-hidden": "true"}
    )
    _add(chart, "path", f"mark {series_class(series)}", d=_SHAPES[series % SERIES])
    return chart


def series_class(series: int) -> str:
    """The class of a series' colour."""
    return f"s{series % SERIES}"


def to_text(element: ElementTree.Element) -> str:
    """The element as SVG inside HTML."""
    return ElementTree.tostring(element, encoding="unicode", short_empty_elements=True)


def to_file(element: ElementTree.Element, title: str) -> str:
    """The element as an SVG file of its own, with its colours for light and dark."""
    height = int(element.get("height", "400")) + 40
    root = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": "chart",
            "width": str(_NOMINAL_WIDTH_PX),
            "height": str(height),
            "role": "img",
        },
    )
    ElementTree.SubElement(root, "title").text = printable(title)
    ElementTree.SubElement(root, "style").text = COLOURS_CSS + CHART_CSS
    _add(root, "rect", "", x=0, y=0, width="100%", height="100%").set("style", "fill:var(--paper)")
    _text(root, 1.5, 20, title, css="strong")
    element.attrib |= {"x": "1.5%", "y": "34", "width": "97%"}
    root.append(element)
    return to_text(root) + "\n"


def number_text(value: float, digits: int = 3) -> str:
    """A number of a tick or a mark: no more digits than it needs, and never an exponent below a billion."""
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _chart(height: int, title: str) -> ElementTree.Element:
    chart = ElementTree.Element("svg", {"class": "chart", "width": "100%", "height": str(height)})
    if title:
        chart.attrib |= {"role": "img", "aria-label": printable(title)}
        ElementTree.SubElement(chart, "title").text = printable(title)
    else:
        chart.set("aria-hidden", "true")
    return chart


def _draw_axes(
    chart: ElementTree.Element, x_axis: Axis, y_axis: Axis, span: tuple[int, int], x_text: str, y_text: str
) -> None:
    top, bottom = span
    for tick, text in y_axis.labelled_ticks():
        y = bottom - y_axis.share(tick) * (bottom - top)
        _add(chart, "line", "grid", x1=_pc(LEFT), x2=_pc(RIGHT), y1=y, y2=y)
        _text(chart, LEFT - 1, y + 4, text, "end", "soft")
    for tick, text in x_axis.labelled_ticks():
        x = _across(x_axis, tick)
        _add(chart, "line", "grid", x1=_pc(x), x2=_pc(x), y1=top, y2=bottom)
        _text(chart, x, bottom + 17, text, "middle", "soft")
    _add(chart, "line", "axis", x1=_pc(LEFT), x2=_pc(RIGHT), y1=bottom, y2=bottom)
    _text(chart, 0, 14, y_text + (", logarithmic" if y_axis.is_log else ""), css="strong")
    _text(chart, RIGHT, bottom + 36, x_text + (", logarithmic" if x_axis.is_log else ""), "end", "strong")


def _draw_front(chart: ElementTree.Element, places: Sequence[tuple[float, float]], css: str) -> None:
    """Steps: between two points of a front nothing better is known than the one before."""
    for (x1, y1), (x2, y2) in itertools.pairwise(places):
        _add(chart, "line", css, x1=_pc(x1), y1=y1, x2=_pc(x2), y2=y1)
        _add(chart, "line", css, x1=_pc(x2), y1=y1, x2=_pc(x2), y2=y2)


def _draw_points(chart: ElementTree.Element, points: Sequence[Point], places: Sequence[tuple[float, float]]) -> None:
    """Marks and labels; the marks of the front come last, so that no other mark lies over them."""
    pixels = [(x / 100 * _NOMINAL_WIDTH_PX, y) for x, y in places]
    taken = [(x - 8, y - 8, x + 8, y + 8) for x, y in pixels]
    drawn = []
    for point, (x, y), (x_px, _) in zip(points, places, pixels, strict=True):
        group = ElementTree.Element("g")
        drawn.append((point.is_on_front, group))
        ElementTree.SubElement(group, "title").text = printable(point.title)
        group.append(marker(x, y, point.series, "mark" if point.is_on_front else "open"))
        name = f" {printable(point.name)}" if len(points) <= MOST_NAMES else ""
        number = str(point.number)
        free = _free_place(x_px, y, len(number) + len(name), taken)
        if free is None:  # the number alone, wherever that has room
            name = ""
            free = _free_place(x_px, y, len(number), taken) or (10, "start", 4.0)
        offset, anchor, down = free
        label = _text(group, x, y + down, number, anchor, "strong label")
        label.set("dx", str(offset))
        ElementTree.SubElement(label, "tspan", {"class": "name"}).text = name
    chart.extend(group for _, group in sorted(drawn, key=lambda each: each[0]))


def _free_place(
    x_px: float, y_px: float, characters: int, taken: list[tuple[float, float, float, float]]
) -> tuple[int, str, float] | None:
    """Where a label meets no point and no other label: above, below or beside it; None for nowhere.

    Beside a point its whisker and its front are in the way, so that comes last.
    """
    width = characters * _CHARACTER_PX
    tries = [
        (offset, anchor, down)
        for down in (-8.0, 18.0, 4.0, -24.0, 33.0)
        for offset, anchor in ((10, "start"), (-10, "end"))
    ]
    for offset, anchor, down in tries:
        left = x_px + offset if anchor == "start" else x_px + offset - width
        box = (left, y_px + down - _LABEL_HEIGHT_PX + 4, left + width, y_px + down + 4)
        is_inside = box[0] > 0 and box[2] < _NOMINAL_WIDTH_PX and box[1] > 16
        if is_inside and not any(_meet(box, other) for other in taken):
            taken.append(box)
            return offset, anchor, down
    return None


def _meet(box: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def _across(axis: Axis, value: float) -> float:
    return LEFT + axis.share(value) * (RIGHT - LEFT)


def _pc(value: float) -> str:
    return f"{value:.2f}%"


def _add(parent: ElementTree.Element, tag: str, css: str, **attributes: float | str) -> ElementTree.Element:
    texts = {name: f"{value:.1f}" if isinstance(value, float) else str(value) for name, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, ({"class": css.strip()} if css else {}) | texts)


def _text(
    parent: ElementTree.Element, x: float, y: float, text: str, anchor: str = "start", css: str = ""
) -> ElementTree.Element:
    element = _add(parent, "text", css, x=_pc(x), y=y)
    if anchor != "start":
        element.set("text-anchor", anchor)
    element.text = printable(text)
    return element


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = tuple(step * 10.0**decade for decade in decades for step in steps)
    return tuple(tick for tick in ticks if low <= tick <= high)


def _linear_ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    raw = (high - low) / most
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if magnitude * factor >= raw)
    first = math.ceil(low / step)
    return tuple(index * step for index in range(first, math.floor(high / step) + 1))
