"""Curves of runs as in Fig. 1 of the Bop paper (arXiv 1906.02107): accuracy above, pi_t of a binary layer below.

Matplotlib is imported inside functions, without pyplot: nothing global is touched.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bopkit.errors import UsageError
from bopkit.figures import COLOURS, FORMATS, GREY, printable_label, style_axes, write_figure
from bopkit.runs.curves import Curves, check_run, read_curves
from bopkit.runs.labels import label_runs
from bopkit.runs.summary import RunSummary, summarise_run
from bopkit.text import count_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEFAULT_FORMATS = (".png", ".svg")
"""What is written where the output names no format."""

SMOOTH_ABOVE_POINTS = 300
"""Measurements of pi_t above which single ones can no longer be told apart in a column."""
SMOOTHING_SHARE = 0.01
"""Width of the moving average that is then drawn before them, as a share of the curve."""

COLUMN_WIDTH_IN, HEIGHT_IN, LEGEND_LINE_IN, MARGIN_IN = 4.6, 5.4, 0.17, 0.08
LABEL_CHARACTERS = 60
"""Longest line of the legend; longer labels are folded."""
DASHES = (0, (4, 2))
"""Of training accuracy, in line widths."""


def plot_runs(
    paths: Sequence[str | Path],
    output: str | Path = "curves",
    labels: Sequence[str] | None = None,
    layer: str | None = None,
) -> list[Path]:
    """Draw the curves of runs into one column: accuracy above, pi_t below, a colour a run.

    Args:
        paths: Run directories, finished or not.
        output: File to write; `.png`, `.svg` and `.pdf` choose the format, and a name without any of them gets
            `.png` and `.svg`.
        labels: One name a run for the legend; None for what differs between the runs.
        layer: Name of the binary layer whose pi_t is drawn; None for the last one of each run.

    Returns:
        The files written.

    Raises:
        UsageError: A path is no run, the labels do not fit, or the output has another ending.
        BopkitError: A run has no finished epoch or no measurement of pi_t, or is damaged.
    """
    if not paths:
        raise UsageError("No run was named.", "Give run directories; `bopkit runs` lists them.")
    if labels is not None and len(labels) != len(paths):
        raise UsageError(
            f"{count_text(len(labels), 'label')} cannot name {count_text(len(paths), 'run')}.",
            "Give one --label for each run, or none.",
        )
    if labels is not None and len(set(labels)) < len(labels):
        raise UsageError("Two runs have the same label.", "Give each run a --label of its own.")
    unique = list(dict.fromkeys(map(Path, paths)))
    for path in unique:
        check_run(path)
    runs = [summarise_run(path) for path in unique]
    labelled = zip(labels, map(Path, paths), strict=True) if labels else zip(label_runs(runs), unique, strict=True)
    return plot_columns([(_title(runs), dict(labelled))], Path(output), layer)


def plot_columns(
    columns: Sequence[tuple[str, Mapping[str, Path]]], output: Path, layer: str | None = None
) -> list[Path]:
    """Draw runs side by side in columns that share their scales, as the four panels of Fig. 1.

    Args:
        columns: For each its title and its runs: label in the legend and run directory.
        output: As for `plot_runs`.
        layer: As for `plot_runs`.

    Returns:
        The files written.

    Raises:
        UsageError: A path is no run, it has no such layer, or the output has another ending.
        BopkitError: A run has no finished epoch or no measurement of pi_t, or is damaged.
    """
    targets = _files_of(output)
    read = [
        (title, {label: read_curves(path, layer) for label, path in labelled.items()}) for title, labelled in columns
    ]
    from matplotlib.figure import Figure

    lines = max(sum(_legend_text(label).count("\n") + 1 for label in curves) for _, curves in read)
    figure = Figure((COLUMN_WIDTH_IN * len(read) + 0.4, HEIGHT_IN + LEGEND_LINE_IN * lines))
    figure.set_layout_engine("constrained", w_pad=MARGIN_IN, h_pad=MARGIN_IN)
    panels = figure.subplots(2, len(read), sharex="col", sharey="row", squeeze=False)
    for column, (title, curves) in enumerate(read):
        accuracy, flips = panels[:, column]
        accuracy.set_title(printable_label(title), fontsize=10, loc="left", parse_math=False)
        draw_column(accuracy, flips, curves)
        if column:
            accuracy.set_ylabel("")
            flips.set_ylabel("")
    _explain_kinds(figure)
    write_figure(figure, targets)
    return targets


def draw_column(accuracy: Axes, flips: Axes, curves: Mapping[str, Curves]) -> None:
    """Draw runs into two axes with one time axis; the legend goes below the lower one.

    Args:
        accuracy: Gets validation top-1 (solid) and training top-1 (dashed), in percent.
        flips: Gets pi_t.
        curves: What to draw, by its label in the legend.
    """
    colours = _colours(len(curves))
    for colour, run in zip(colours, curves.values(), strict=True):
        marker = "o" if len(run.epochs) == 1 else None  # a line of one point cannot be seen
        dashed: Any = {"linewidth": 0.9, "linestyle": DASHES, "alpha": 0.8}
        accuracy.plot(run.epochs, run.top1, color=colour, marker=marker, markersize=3, **dashed)
        accuracy.plot(run.epochs, run.val_top1, color=colour, marker=marker, markersize=4, linewidth=1.6)
        _draw_pi_t(flips, run, colour)
    style_axes(accuracy, "top-1 (%)")
    style_axes(flips, rf"$\pi_t$ of {_layer_name(curves.values())}, ln")
    flips.set_xlabel("epoch", fontsize=9)
    flips.set_xlim(0, max(max(run.epochs[-1], run.flip_epochs[-1]) for run in curves.values()))
    _explain_colours(flips, list(curves), colours)


def moving_average(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of the `width` (odd) values around each, of as many as there are near both ends; float [n]."""
    window = np.ones(width)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def _draw_pi_t(axes: Axes, run: Curves, colour: str) -> None:
    """One run's pi_t: as measured, or where there are many points their moving average before them."""
    values = run.pi_t
    if len(values) > SMOOTH_ABOVE_POINTS:
        axes.plot(run.flip_epochs, values, color=colour, linewidth=0.4, alpha=0.25)
        values = moving_average(values, 2 * round(len(values) * SMOOTHING_SHARE / 2) + 1)
    marker = "o" if len(values) == 1 else None
    axes.plot(run.flip_epochs, values, color=colour, linewidth=1.3, marker=marker, markersize=4)


def _explain_kinds(figure: Figure) -> None:
    """What solid and dashed lines are, above all columns, where no curve can be covered."""
    from matplotlib.lines import Line2D

    kinds = [
        Line2D([], [], color=GREY, linewidth=1.6, label="validation"),
        Line2D([], [], color=GREY, linewidth=0.9, linestyle=DASHES, label="training"),
    ]
    figure.legend(handles=kinds, loc="outside upper right", ncols=len(kinds), fontsize=8, frameon=False)


def _explain_colours(flips: Axes, labels: Sequence[str], colours: Sequence[str]) -> None:
    """What a colour means, below the column."""
    from matplotlib.lines import Line2D

    runs = [Line2D([], [], color=colour, linewidth=1.6, label="run") for colour in colours]
    legend = flips.legend(
        handles=runs, loc="upper left", bbox_to_anchor=(0, -0.2), borderaxespad=0, fontsize=8, frameon=False
    )
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_parse_math(False)  # a name is no formula
        text.set_text(_legend_text(label))  # not above: matplotlib leaves out labels that begin with an underscore


def _legend_text(label: str) -> str:
    return textwrap.fill(printable_label(label), LABEL_CHARACTERS)


def _layer_name(curves: Iterable[Curves]) -> str:
    """Name of the layer that pi_t is of, for an axis label, which reads formulas between dollar signs."""
    names = {run.layer for run in curves}
    return printable_label(names.pop()).replace("$", r"\$") if len(names) == 1 else "the last binary layer"


def _colours(count: int) -> list[str]:
    """One colour a run; beyond the palette, steps of a scale that colour-blind readers see as one."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    import matplotlib
    from matplotlib.colors import to_hex

    scale = matplotlib.colormaps["viridis"]
    return [to_hex(scale(position)) for position in np.linspace(0, 0.92, count)]


def _title(runs: Sequence[RunSummary]) -> str:
    """Network, dataset and set, where they are the same for all."""
    titles, sets = {f"{run.model} on {run.dataset}" for run in runs}, {run.hparams_set for run in runs}
    if len(titles) > 1:
        return ""
    of_set = f", set {sets.pop()}" if len(sets) == 1 and None not in sets else ""
    return f"{titles.pop()}{of_set}"


def _files_of(output: Path) -> list[Path]:
    """The file that was asked for, or one for each of the default formats."""
    if output.suffix in FORMATS:
        return [output]
    if output.suffix:
        raise UsageError(f"{output} ends in {output.suffix}.", f"Use one of {', '.join(FORMATS)}, or no ending.")
    return [output.with_suffix(suffix) for suffix in DEFAULT_FORMATS]
