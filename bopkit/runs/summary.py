"""Runs side by side: what each was asked for, how far it came, and in what they differ.

Read from the run directories alone, without TensorFlow; a run that is being written is read as it stands.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bopkit.errors import BopkitError, UsageError, first_line, unknown_name
from bopkit.hparams import HParams, default_values
from bopkit.runs.directory import (
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    LAST_MODEL_FILE,
    METRICS_FILE,
    MODEL_FILE,
    OF_BEFORE,
    is_run,
    read_config,
    read_metrics,
    run_state,
)
from bopkit.tabular import Column, Tabular, in_order, record
from bopkit.text import count_text, percent_text

T = TypeVar("T")

LARGEST_FIRST = frozenset(
    {"epochs_done", "best_val_top1", "val_top1", "top1", "images_per_second", "started", "updated"}
)
"""Columns that `list_runs` sorts from the best, the fastest or the newest down."""

SPREAD_EPOCHS = 5
"""Epochs at the end of a run over which `val_top1_spread` is taken."""

COUNTS = frozenset({"train_pictures", "validation_pictures", "steps_per_epoch"})
"""Settings that follow from others: dataset, split, batch size, limit."""


@dataclasses.dataclass(frozen=True, repr=False)
class RunSummary(Tabular):
    """One run directory in short; plain JSON values. A figure that its files do not tell is None.

    Attributes:
        path: The run directory, as it was reached: relative where the folder searched was.
        state: `finished`, `running` or `stopped`.
        problem: What is damaged or missing in it, in one line; empty where nothing is.
        model: Name of the network.
        hparams_set: Name of its hyper-parameter set.
        dataset: The dataset, with its configuration and version where it has them.
        seed: The seed.
        precision: `float32` or `bfloat16`.
        epochs: Epochs of the whole run.
        epochs_done: Epochs that are trained and validated.
        best_val_top1: Highest validation top-1 of an epoch, 0 to 1.
        best_epoch: The first epoch that reached it, from 1.
        val_top1: Validation top-1 of the last epoch, 0 to 1.
        val_top1_spread: Highest less lowest validation top-1 of the last `SPREAD_EPOCHS` epochs, 0 to 1; None while
            there are fewer.
        top1: Training top-1 of the last epoch, 0 to 1; of the steps so far while the first epoch runs.
        loss: Training loss, of the same steps.
        images_per_second: Training speed, of the same steps.
        started: When its config was written, ISO 8601 in UTC.
        updated: When its newest file was written, ISO 8601 in UTC.
        settings: Everything that it was asked for by name, hyper-parameters included.
    """

    path: str
    state: str
    problem: str
    model: str | None
    hparams_set: str | None
    dataset: str | None
    seed: int | None
    precision: str | None
    epochs: int | None
    epochs_done: int
    best_val_top1: float | None
    best_epoch: int | None
    val_top1: float | None
    val_top1_spread: float | None
    top1: float | None
    loss: float | None
    images_per_second: float | None
    started: str | None
    updated: str | None
    settings: dict[str, Any]

    _columns = (
        Column("run", "path"),
        Column("best top-1", "best_val_top1", percent_text),
        Column("state", "state"),
        Column("epochs", "epochs_done"),
        Column("of", "epochs"),
        Column("model", "model"),
        Column("dataset", "dataset"),
        Column("problem", "problem"),
    )

    def _records(self) -> list[dict[str, Any]]:
        facts = record(self)
        return [{**facts, **{name: value for name, value in self.settings.items() if name not in facts}}]


class RunList(Tabular, list[RunSummary]):
    """Runs, as `list_runs` returns them."""

    _columns = RunSummary._columns

    def _title(self) -> str:
        return count_text(len(self), "run")

    def _records(self) -> list[dict[str, Any]]:
        return [values for run in self for values in run._records()]


def list_runs(folder: str | Path = "runs", sort: str = "path") -> RunList:
    """All runs in and below a folder: finished, running, stopped and damaged ones.

    Args:
        folder: Searched to any depth, links included; may itself be a run.
        sort: An attribute of `RunSummary` or the name of a setting. Accuracies, speeds and times sort from the
            largest down (`LARGEST_FIRST`), all else from the smallest up; runs without a value come last.

    Raises:
        UsageError: There is no such folder, or nothing of that name to sort by.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", "Name the folder that holds the runs.")
    runs = sorted((summarise_run(path) for path in find_runs(folder)), key=lambda run: run.path)
    columns = {field.name for field in dataclasses.fields(RunSummary)} - {"settings"}
    known = columns.union(*(run.settings for run in runs))
    if sort not in known:
        raise unknown_name("sort key", sort, known, "bopkit runs --json")

    def value(run: RunSummary) -> Any:
        return getattr(run, sort) if sort in columns else run.settings.get(sort)

    return RunList(in_order(runs, value, is_largest_first=sort in LARGEST_FIRST))


def find_runs(folder: Path) -> Iterator[Path]:
    """The run directories in and below a folder, sorted at each level; nothing is looked for inside a run."""
    seen: set[str] = set()
    for name, folders, _ in os.walk(folder, followlinks=True):
        real = os.path.realpath(name)
        if real in seen or _is_readable_run(Path(name)):
            folders.clear()
            if real not in seen:
                yield Path(name)
        folders.sort()
        seen.add(real)  # a link may lead back up


def summarise_run(path: str | Path) -> RunSummary:
    """Read one run directory; whatever is damaged in it becomes its `problem`."""
    path = Path(path)
    problems: list[str] = []
    nothing: dict[str, Any] = {}
    no_rows: list[dict[str, Any]] = []
    state: str = _read_or_note(run_state, path, "stopped", problems)
    config = _read_or_note(read_config, path, nothing, problems)
    rows = _read_or_note(read_metrics, path, no_rows, problems)
    if not rows and not problems and state != "running":
        problems.append("metrics.jsonl is missing or empty.")
    settings = _settings_of(config)
    epochs = {row["epoch"]: row for row in rows if row["kind"] == "epoch"}
    last = epochs[max(epochs)] if epochs else {}
    latest = last or (rows[-1] if rows else {})
    validated = {epoch: top1 for epoch, row in epochs.items() if (top1 := _number(row, "val_top1")) is not None}
    newest = [validated[epoch] for epoch in sorted(validated)[-SPREAD_EPOCHS:]]
    best_epoch = min(validated, key=lambda epoch: (-validated[epoch], epoch), default=None)
    started, updated = _started_and_updated(path)
    return RunSummary(
        path=str(path),
        state=state,
        problem=" ".join(problems).replace(f"{path}{os.sep}", ""),
        model=settings.get("model"),
        hparams_set=settings.get("hparams_set"),
        dataset=settings.get("dataset"),
        seed=settings.get("seed"),
        precision=settings.get("precision"),
        epochs=settings.get("epochs"),
        epochs_done=max(epochs, default=0),
        best_val_top1=None if best_epoch is None else validated[best_epoch],
        best_epoch=best_epoch,
        val_top1=_number(last, "val_top1"),
        val_top1_spread=max(newest) - min(newest) if len(newest) == SPREAD_EPOCHS else None,
        top1=_number(latest, "top1"),
        loss=_number(latest, "loss"),
        images_per_second=_number(latest, "images_per_second"),
        started=started,
        updated=updated,
        settings=settings,
    )


def differing_settings(runs: Sequence[RunSummary]) -> list[dict[str, Any]]:
    """The settings in which runs differ.

    Args:
        runs: As from `list_runs`; one whose config is damaged is left out of the comparison.

    Returns:
        One dictionary a run, all with the same names: those of the settings that are not the same for all runs.
        None where a run has no such setting. Counts that follow from other settings are told only where nothing
        else differs.
    """
    known = [run.settings for run in runs if run.settings]
    names = list(dict.fromkeys(name for settings in known for name in settings))
    differing = [name for name in names if any(each.get(name) != known[0].get(name) for each in known)]
    chosen = [name for name in differing if name not in COUNTS] or differing
    return [{name: run.settings.get(name) for name in chosen} for run in runs]


def _is_readable_run(path: Path) -> bool:
    try:
        return is_run(path)
    except PermissionError:  # a folder that may be listed and not entered
        return False


def _read_or_note(read: Callable[[Path], T], path: Path, otherwise: T, problems: list[str]) -> T:
    """What `read` returns; where that is damaged or out of reach, `otherwise` and one more problem."""
    try:
        return read(path)
    except BopkitError as error:
        problems.append(error.message)
    except (OSError, ValueError) as error:
        problems.append(f"It cannot be read: {first_line(error)}.")  # an OSError names the file
    return otherwise


def _settings_of(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a config in one level; those that it lacks, behind the others, as the run was trained with."""
    if not config:
        return {}
    settings = {name: value for name, value in config.items() if name != "hparams"} | config["hparams"]
    lacking = {name: value for name, value in (OF_BEFORE | default_values(HParams)).items() if name not in settings}
    return settings | lacking


def _number(row: dict[str, Any], name: str) -> float | None:
    """A finite figure of a row; None where it has none."""
    value = row.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _started_and_updated(path: Path) -> tuple[str | None, str | None]:
    """When the config and the newest of a run's files were written."""
    names = (CONFIG_FILE, METRICS_FILE, CHECKPOINTS_FOLDER, MODEL_FILE, LAST_MODEL_FILE)
    written_s = {}
    for name in names:
        try:
            written_s[name] = (path / name).stat().st_mtime
        except OSError:  # not there yet, or being replaced
            continue
    return _utc_text(written_s.get(CONFIG_FILE)), _utc_text(max(written_s.values(), default=None))


def _utc_text(time_s: float | None) -> str | None:
    """A time in seconds since 1970 as ISO 8601."""
    if time_s is None:
        return None
    return datetime.datetime.fromtimestamp(time_s, datetime.UTC).isoformat(timespec="seconds")
