"""`bopkit runs`."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bopkit.cli.arguments import Json
from bopkit.cli.output import mean_text, percent_text, print_json, print_table, say, show
from bopkit.text import value_text

if TYPE_CHECKING:
    from bopkit.runs.groups import RunGroup
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
    each: Annotated[
        bool, typer.Option("--each", help="One row a run, also of runs that differ in nothing but the seed.")
    ] = False,
    json: Json = False,
) -> None:
    """List and compare runs; those that differ in nothing but the seed are one row, with mean and 95 % interval."""
    from bopkit.runs.groups import group_runs
    from bopkit.runs.summary import differing_settings, list_runs

    found = list_runs(folder, sort)
    groups = group_runs(found, sort)
    has_groups = any(len(group.runs) > 1 for group in groups)
    if json:
        of_run = {run.path: group.to_dict() for group in groups if len(group.runs) > 1 for run in group.runs}
        rows = zip(found, differing_settings(found), strict=True)
        print_json(
            [
                {**dataclasses.asdict(run), "differs_in": settings, "group": of_run.get(run.path)}
                for run, settings in rows
            ]
        )
    elif not found:
        say(f"no runs below {folder}; `bopkit train` writes one")
    elif has_groups and not each:
        _print_groups(groups)
    else:
        _print_runs(found, differing_settings(found))


def _print_groups(groups: list[RunGroup]) -> None:
    """One row for all seeds of the same settings."""
    from bopkit.runs.groups import repeated_seeds, unfinished_alike
    from bopkit.runs.summary import differing_settings

    shown = [group.first for group in groups]
    differing = [_without_seed(settings) for settings in differing_settings(shown)]
    _print_table(
        shown,
        differing,
        {
            "run": [group.path for group in groups],
            "done": [_epochs_text([run.epochs_done for run in group.runs]) for group in groups],
            "seeds": [str(len(group.runs)) for group in groups],
            "best top-1": [mean_text(group.best_val_top1, group.best_val_top1_interval) for group in groups],
            "val top-1": [mean_text(group.val_top1, group.val_top1_interval) for group in groups],
            "train top-1": [percent_text(group.top1) for group in groups],
            "loss": [_or_dash(group.loss, ".4f") for group in groups],
            "images/s": [_or_dash(group.images_per_second, ",.0f") for group in groups],
            "started": [_local_time(_times(group, "started")[0]) for group in groups],
            "updated": [_local_time(_times(group, "updated")[-1]) for group in groups],
        },
    )
    show("± is the 95 % interval of the mean over seeds (Student's t); --each lists the single runs.")
    for run in unfinished_alike(groups):
        say(f"{run.path} is not finished, so it is in no mean.")
    for run in repeated_seeds(groups):
        say(f"{run.path} repeats seed {run.seed}, so it is in no mean.")


def _epochs_text(epochs: list[int]) -> str:
    """How many epochs runs have; those that stopped early differ: `12-20`."""
    return str(epochs[0]) if len(set(epochs)) == 1 else f"{min(epochs)}-{max(epochs)}"


def _times(group: RunGroup, name: str) -> list[str | None]:
    """When the runs of a group were started or updated, in order; one None where no run tells."""
    return sorted(each for run in group.runs if (each := getattr(run, name))) or [None]


def _without_seed(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "seed"}


def _print_runs(found: list[RunSummary], differing: list[dict[str, Any]]) -> None:
    _print_table(
        found,
        differing,
        {
            "run": [run.path for run in found],
            "done": [str(run.epochs_done) for run in found],
            "seed": [_or_dash(run.seed) for run in found],
            "best top-1": [percent_text(run.best_val_top1) for run in found],
            "val top-1": [percent_text(run.val_top1) for run in found],
            "train top-1": [percent_text(run.top1) for run in found],
            "loss": [_or_dash(run.loss, ".4f") for run in found],
            "images/s": [_or_dash(run.images_per_second, ",.0f") for run in found],
            "started": [_local_time(run.started) for run in found],
            "updated": [_local_time(run.updated) for run in found],
        },
    )


def _print_table(found: list[RunSummary], differing: list[dict[str, Any]], cells: dict[str, list[str]]) -> None:
    """A table of runs, or of groups by their first runs, with what differs between the rows; below it what does not.

    Args:
        found: A run for each row.
        differing: As from `differing_settings`, for each row.
        cells: Path, finished epochs (`done`), seed and figures by heading.
    """
    shared = {name: heading for name, heading in SHARED.items() if name != "seed" or heading in cells}
    same = {name for name in shared if len(found) > 1 and name not in differing[0]}
    further = [name for name in differing[0] if name not in SHARED and name != "epochs"]
    columns = {
        "run": cells["run"],
        **({"seeds": cells["seeds"]} if "seeds" in cells else {}),
        **{shared[name]: [_or_dash(getattr(run, name)) for run in found] for name in shared if name not in same},
        "state": [run.state for run in found],
        "epochs": [f"{done}/{_or_dash(run.epochs)}" for done, run in zip(cells["done"], found, strict=True)],
        **{heading: column for heading, column in cells.items() if heading not in ("run", "done", "seed", "seeds")},
        **_columns_of_settings(further if len(further) <= MAX_SETTINGS else [], found, differing),
        "problem": [run.problem for run in found],
    }
    shown = {name: column for name, column in columns.items() if any(column)}
    right = ["seed", "seeds", "epochs", "best top-1", "val top-1", "train top-1", "loss", "images/s"]
    identity = [*(shared[name] for name in shared if len(found) > 1 and name not in same), *further]
    print_table(
        list(shown),
        zip(*shown.values(), strict=True),
        right=right,
        text=["problem"],
        important=[
            *("seeds", "state", "epochs", "best top-1"),
            *identity,
            "val top-1",
            "train top-1",
            "loss",
            *shared.values(),
        ],
    )
    first = next((run for run in found if run.settings), None)
    if same and first is not None:
        values = ((heading, getattr(first, name)) for name, heading in shared.items() if name in same)
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
