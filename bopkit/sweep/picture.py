"""The picture of a sweep: best validation top-1 by each hyper-parameter that it varies, and the curves of the best.

Matplotlib is imported inside functions, without pyplot: nothing global is touched.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bopkit.figures import COLOURS, printable_label, style_axes, write_figure
from bopkit.hparams import override
from bopkit.registry import MODELS
from bopkit.runs.directory import read_epochs
from bopkit.runs.labels import applies
from bopkit.sweep.plan import SweepPlan
from bopkit.sweep.result import SweepResult, TrialRow
from bopkit.sweep.space import Choices, Range
from bopkit.text import count_text, value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE = "sweep.png"
CURVES = 5
"""Trials whose curves are drawn: the best ones."""

PANEL_WIDTH_IN, PANEL_HEIGHT_IN, LEGEND_LINE_IN = 4.4, 3.0, 0.17
ACROSS = 3
"""Panels in a row, at most."""

MAX_TICKS = 12
"""Values of a list that have room below an axis; of more, every second and so on is written."""

SPREAD = 0.6
"""Part of the place of a listed value over which its trials are spread, so that they do not cover each other."""

SHOWN_PERCENT = (-2, 102)
"""What intervals may reach beyond is not drawn, but a point at the end is whole."""

OTHER, BEST, PALE = COLOURS[0], COLOURS[1], "#9cc3dd"
LABEL_CHARACTERS = 44


def draw_sweep(plan: SweepPlan, result: SweepResult) -> list[Path]:
    """Draw a sweep, trials that are pruned or still trained as far as they came.

    Args:
        plan: The sweep.
        result: Its trials so far.

    Returns:
        The file, a PNG in the sweep's folder; none before the first epoch of a trial.
    """
    rows = [row for row in result.trials if row.val_top1 is not None]
    if not rows:
        return []
    from matplotlib.figure import Figure

    optimizer = _optimizer(plan)
    best = sorted(rows, key=lambda row: (row.state != "finished", -(row.val_top1 or 0.0), row.trial))[:CURVES]
    panels = len(plan.space) + 1
    across = min(panels, ACROSS)
    down = -(-panels // across)
    labels = [_label(row, optimizer) for row in best]
    lines = sum(label.count("\n") + 1 for label in labels)
    height = PANEL_HEIGHT_IN * down + LEGEND_LINE_IN * (lines + 3)
    figure = Figure((PANEL_WIDTH_IN * across, height))
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.1)
    figure.suptitle(printable_label(_title(plan, rows)), x=0.01, ha="left", fontsize=10, parse_math=False)
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for axis, (name, values) in zip(axes, plan.space.items(), strict=False):
        _draw_values(axis, name, values, [row for row in rows if applies(name, _of(row, optimizer))], best[0])
    _draw_curves(axes[panels - 1], plan, dict(zip(labels, best, strict=True)))
    for axis in axes[panels:]:
        axis.set_axis_off()
    _explain_points(figure, plan, rows)
    target = plan.output_dir / FIGURE
    write_figure(figure, [target])
    return [target]


def _title(plan: SweepPlan, rows: Sequence[TrialRow]) -> str:
    of_seeds = f", {count_text(len(plan.seeds), 'seed')} each" if plan.seeds is not None else ""
    of_set = f", set {plan.training.hparams_set}" if plan.training.hparams_set else ""
    trials = count_text(len(rows), "trial")
    return f"{plan.training.model} on {plan.training.dataset_name}{of_set}: {trials}{of_seeds}"


def _optimizer(plan: SweepPlan) -> str:
    """The optimizer of the trials, unless they vary it."""
    training = plan.training
    return override(MODELS.load(training.model).hparams(training.hparams_set), training.hparams).optimizer


def _of(row: TrialRow, optimizer: str) -> str:
    return row.hparams.get("optimizer", optimizer)


def _label(row: TrialRow, optimizer: str) -> str:
    """What a trial is called in the legend, without what does not apply to its optimizer."""
    shown = {name: value for name, value in row.hparams.items() if applies(name, _of(row, optimizer))}
    text = ", ".join(f"{name}={value_text(_rounded(value))}" for name, value in shown.items())
    return textwrap.fill(printable_label(f"trial {row.trial}: {text}"), LABEL_CHARACTERS, subsequent_indent="    ")


def _rounded(value: Any) -> Any:
    """A value of a search to three digits: the table has all."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _draw_values(axes: Axes, name: str, values: Choices | Range, rows: Sequence[TrialRow], best: TrialRow) -> None:
    """Top-1 of each trial by one hyper-parameter; with several seeds also of each of them, and the interval."""
    positions = _positions(name, values, rows)
    for row, x in zip(rows, positions, strict=True):
        is_best, is_whole = row is best, row.state == "finished"
        colour = BEST if is_best else OTHER
        y = 100 * (row.val_top1 or 0.0)
        if len(row.seeds) > 1:
            each = [100 * value for value in row.seeds.values()]
            axes.plot([x] * len(each), each, "o", color=colour, alpha=0.3, markersize=3, markeredgewidth=0)
        if row.val_top1_interval is not None:
            low, high = (100 * end for end in row.val_top1_interval)
            axes.errorbar(x, y, [[y - low], [high - y]], color=colour, linewidth=1, capsize=2.5, zorder=3)
        filled = colour if is_whole else "white"
        size, order = (6, 5) if is_best else (4.5, 4)
        axes.plot(x, y, "o", color=colour, markerfacecolor=filled, markersize=size, zorder=order)
    axes.set_ylim(*np.clip(axes.get_ylim(), *SHOWN_PERCENT))
    style_axes(axes, "best validation top-1 (%)")
    axes.set_xlabel(printable_label(name), fontsize=9, parse_math=False)
    _lay_out_x(axes, values)


def _positions(name: str, values: Choices | Range, rows: Sequence[TrialRow]) -> list[float]:
    """Where each trial stands: at its value, or spread around the place of a listed one."""
    own = [row.hparams[name] for row in rows]
    if isinstance(values, Range):
        return [float(value) for value in own]
    places = {value: place for place, value in enumerate(values.values)}
    crowd = {value: own.count(value) for value in set(own)}
    seen = dict.fromkeys(crowd, 0)
    positions = []
    for value in own:
        shift = (seen[value] + 0.5) / crowd[value] - 0.5
        positions.append(places[value] + SPREAD * shift)
        seen[value] += 1
    return positions


def _lay_out_x(axes: Axes, values: Choices | Range) -> None:
    from matplotlib.ticker import AutoLocator, MaxNLocator

    if isinstance(values, Range):
        axes.set_xscale("log" if values.log else "linear")
        if not values.log:
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True) if values.whole else AutoLocator())
        return
    step = -(-len(values.values) // MAX_TICKS)
    places = range(0, len(values.values), step)
    axes.set_xticks(list(places), [printable_label(value_text(values.values[place])) for place in places])
    axes.set_xlim(-0.6, len(values.values) - 0.4)
    longest = max(len(value_text(value)) for value in values.values)
    if longest * len(places) > 40:
        axes.tick_params(axis="x", rotation=30)


def _draw_curves(axes: Axes, plan: SweepPlan, best: Mapping[str, TrialRow]) -> None:
    """Validation top-1 by epoch of the best trials: the mean over their seeds, and from the lowest to the highest."""
    from matplotlib.ticker import MaxNLocator

    for (label, row), colour in zip(best.items(), (BEST, OTHER, *COLOURS[2:]), strict=False):
        curves = _curves(plan, row)
        if not curves:
            continue  # trained on another host, and the folder is not shared
        length = min(map(len, curves))
        top1 = 100 * np.array([curve[:length] for curve in curves])
        epochs = np.arange(1, length + 1)
        if len(curves) > 1:
            axes.fill_between(epochs, top1.min(axis=0), top1.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        marker = "o" if length == 1 else None
        axes.plot(epochs, top1.mean(axis=0), color=colour, linewidth=1.5, marker=marker, label=label)
    several = plan.seeds is not None and len(plan.seeds) > 1
    style_axes(axes, "validation top-1 (%)")
    axes.set_xlabel("epoch" + (" (mean of seeds; band: lowest to highest)" if several else ""), fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.lines:
        legend = axes.legend(
            *axes.get_legend_handles_labels(),
            loc="upper left", bbox_to_anchor=(0, -0.2), borderaxespad=0, fontsize=8, frameon=False,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)


def _curves(plan: SweepPlan, row: TrialRow) -> list[list[float]]:
    """Validation top-1 by epoch of each seed that has an epoch, 0 to 1."""
    found = []
    for run_dir in plan.runs_of(row.trial).values():
        top1 = {epoch["epoch"]: epoch.get("val_top1", math.nan) for epoch in read_epochs(run_dir)}
        if top1:
            found.append([top1[epoch] for epoch in sorted(top1)])
    return found


def _explain_points(figure: Figure, plan: SweepPlan, rows: Sequence[TrialRow]) -> None:
    """What the points are, below all panels."""
    from matplotlib.lines import Line2D

    def point(colour: str, text: str, **style: Any) -> Line2D:
        return Line2D([], [], color=colour, linestyle="", marker="o", label=text, **{"markersize": 5, **style})

    if plan.seeds is not None and len(plan.seeds) > 1:
        handles = [point(BEST, "best trial: mean, 95 % interval over seeds"), point(OTHER, "another trial")]
        handles.append(point(PALE, "single seed", markersize=3))
    else:
        handles = [point(BEST, "best trial"), point(OTHER, "trial")]
    if any(row.state != "finished" for row in rows):
        handles.append(point(OTHER, "pruned or not finished", markerfacecolor="white"))
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), fontsize=8, frameon=False)
