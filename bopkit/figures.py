"""What pictures of runs, sweeps and mistakes share: formats, colours, the look of axes, names that can be drawn.

Matplotlib is imported inside functions, without pyplot: nothing global is touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bopkit import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart; its yellow is too pale for a line."""

GREY = "#888888"
PNG_DOTS_PER_INCH = 200


def style_axes(axes: Axes, label: str) -> None:
    """Give axes the look of all curves here, a label on the left and whole numbers below."""
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel(label, fontsize=9)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=8, color=GREY)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def printable_label(text: str) -> str:
    """The text without control characters, which no XML can hold, and without half of a surrogate pair."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def write_figure(figure: Figure, targets: Sequence[Path]) -> None:
    """Write the figure in all formats; none of the files changes unless all can be drawn."""
    import matplotlib

    with contextlib.ExitStack() as stack:
        for target in targets:
            scratch = stack.enter_context(files.replacing(target))
            # Without dates and random ids, the same curves make the same file.
            metadata: Any = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[target.suffix]
            with matplotlib.rc_context({"svg.hashsalt": "bopkit"}):
                figure.savefig(scratch, dpi=PNG_DOTS_PER_INCH, metadata=metadata)
