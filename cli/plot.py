"""`bopkit plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bopkit.cli.arguments import Json
from bopkit.cli.output import print_json, print_path


def plot(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run directories (`bopkit runs`).", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .png, .svg or .pdf file; without an ending: .png and .svg.")
    ] = Path("curves"),
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="TEXT", help="Name in the legend, one for each run; default: what differs."),
    ] = None,
    layer: Annotated[
        str | None, typer.Option("--layer", metavar="NAME", help="Binary layer whose pi_t is drawn; default: the last.")
    ] = None,
    json: Json = False,
) -> None:
    """Draw accuracy and flips (pi_t) of runs by epoch, as Fig. 1 of the Bop paper."""
    from bopkit.runs.plot import plot_runs

    written = plot_runs(runs, output, label or None, layer)
    if json:
        print_json([str(path) for path in written])
        return
    for path in written:
        print_path(path)
