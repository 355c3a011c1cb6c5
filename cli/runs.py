"""`bopkit runs`."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bopkit.cli.arguments import Json
from bopkit.cli.output import percent_text, print_json, print_table, say, show
from bopkit.text import value_text

if TYPE_CHECKING:
    from bopkit.runs.summary import RunSummary

SHARED = {"model": "model", "hparams_set": "set", "dataset": "dataset", "seed": "seed", "precision": "precision"}
"""Headings of the settings that have a column where runs differ in them, and a place in the last line elsewhere."""

MAX_SETTINGS = 4
"""Columns for other settings in which runs differ; more of them are only named below the table."""


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with runs at any depth, or one run.")] = Path(
        "runs"
    ),
    sort: Annotated[
        str,
        typer.Option("--sort", metavar="KEY", help="Any key of --json, such as path, best_val_top1, updated or gamma."),
    ] = "path",
    json: Json = False,
) -> None:
    """List and compare finished, running and stopped runs."""
    from bopkit.runs.summary import differing_settings, list_runs

    found = list_runs(folder, sort)
    differing = differing_settings(found)
    if json:
        rows = zip(found, differing, strict=True)
        print_json([{**dataclasses.asdict(run), "differs_in": settings} for run, settings in rows])
    elif not found:
        say(f"no runs below {folder}; `bopkit train` writes one")
    else:
        _print_runs(found, differing)


def _print_runs(found: list[RunSummary], differing: list[dict[str, Any]]) -> None:
    same = {name for name in SHARED if len(found) > 1 and name not in differing[0]}
    further = [name for name in differing[0] if name not in SHARED and name != "epochs"]
    columns = {
        "run": [run.path for run in found],
        **{SHARED[name]: [_or_dash(getattr(run, name)) for run in found] for name in SHARED if name not in same},
        "state": [run.state for run in found],
        "epochs": [f"{run.epochs_done}/{_or_dash(run.epochs)}" for run in found],
        "best top-1": [percent_text(run.best_val_top1) for run in found],
        "val top-1": [percent_text(run.val_top1) for run in found],
        "train top-1": [percent_text(run.top1) for run in found],
        "loss": [_or_dash(run.loss, ".4f") for run in found],
        "images/s": [_or_dash(run.images_per_second, ",.0f") for run in found],
        "started": [_local_time(run.started) for run in found],
        "updated": [_local_time(run.updated) for run in found],
        **_columns_of_settings(further if len(further) <= MAX_SETTINGS else [], found, differing),
        "problem": [run.problem for run in found],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    right = ["seed", "epochs", "best top-1", "val top-1", "train top-1", "loss", "images/s"]
    identity = [*(SHARED[name] for name in SHARED if len(found) > 1 and name not in same), *further]
    print_table(
        list(shown),
        zip(*shown.values(), strict=True),
        right=right,
        text=["problem"],
        important=["state", "epochs", "best top-1", *identity, "val top-1", "train top-1", "loss", *SHARED.values()],
    )
    first = next((run for run in found if run.settings), None)
    if same and first is not None:
        values = ((heading, getattr(first, name)) for name, heading in SHARED.items() if name in same)
        show("all: " + ", ".join(f"{heading} {value}" for heading, value in values if value is not None))
    if len(further) > MAX_SETTINGS:
        say(f"They also differ in {', '.join(further)}; --json has the values.")


def _columns_of_settings(
    names: list[str], found: list[RunSummary], differing: list[dict[str, Any]]
) -> dict[str, list[str]]:
    """Cells of differing settings, by heading."""
    rows = list(zip(found, differing, strict=True))
    return {name: [value_text(each[name]) if run.settings else "-" for run, each in rows] for name in names}


def _or_dash(value: Any, layout: str = "") -> str:
    """A value in a format, such as `.4f`; a dash where there is none."""
    return "-" if value is None else format(value, layout)


def _local_time(iso: str | None) -> str:
    """A time for a person, to the minute, in this machine's time zone."""
    return "-" if iso is None else datetime.datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M")
