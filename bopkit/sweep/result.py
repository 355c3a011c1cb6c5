"""What a sweep found, as plain values: `to_dict` is ready for JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bopkit.metrics import mean_interval
from bopkit.sweep.command import hparams_text
from bopkit.sweep.slots import ERROR, HOST, RUN_DIR, SEEDS
from bopkit.tabular import Column, Tabular, record
from bopkit.text import percent_text


@dataclasses.dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        trial: Its number from 0, the one in the name of its run directory.
        state: `finished`, `pruned`, `failed`, `stopped` (it will be taken up again), `running` or `waiting`.
        hparams: The hyper-parameters that the sweep chose.
        val_top1: Best validation top-1 of its epochs, 0 to 1; of several seeds the mean over those that are trained.
            None before the first epoch.
        epochs: Epochs that it reached, over all seeds.
        run_dir: Its run directory, as named where it ran, or the folder of those with each seed; None before it starts.
        host: The host that it ran on.
        error: Why it failed, in one line.
        val_top1_interval: Ends of the 95 % interval of that mean (Student's t); None with fewer than two seeds.
        seeds: Best validation top-1 by seed, of a sweep with `seeds`: those that are trained.
    """

    trial: int
    state: str
    hparams: dict[str, Any]
    val_top1: float | None = None
    epochs: int = 0
    run_dir: str | None = None
    host: str | None = None
    error: str | None = None
    val_top1_interval: tuple[float, float] | None = None
    seeds: dict[int, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, repr=False)
class SweepResult(Tabular):
    """What `run_sweep` leaves.

    Attributes:
        study: Name of the Optuna study.
        storage: Its URL, without the password.
        output_dir: The folder of the runs.
        trials: One row a trial, in order.
        best: Number of the finished trial with the best validation top-1; None if none finished.
        command: The command line that trains it once more; empty if none finished.
        figures: Pictures of it: value by each hyper-parameter and the curves of the best, or the figure of a preset.
    """

    study: str
    storage: str
    output_dir: Path
    trials: tuple[TrialRow, ...]
    best: int | None
    command: str
    figures: tuple[Path, ...] = ()

    _columns = (
        Column("trial", "trial"),
        Column("best val top-1", "val_top1", percent_text),
        Column("95 % from", "val_top1_low", percent_text),
        Column("to", "val_top1_high", percent_text),
        Column("epochs", "epochs"),
        Column("state", "state"),
        Column("hyper-parameters", "hparams_text"),
        Column("error", "error"),
    )

    def to_dict(self) -> dict[str, Any]:
        """The result as dictionaries, lists, strings and numbers."""
        values = dataclasses.asdict(self)
        return {**values, "output_dir": str(self.output_dir), "figures": [str(path) for path in self.figures]}

    def _title(self) -> str:
        best = "none finished" if self.best is None else f"trial {self.best} is the best"
        return f"{len(self.trials)} trials in {self.output_dir}, {best}"

    def _records(self) -> list[dict[str, Any]]:
        return [
            {**record(row), **{f"hparams.{name}": value for name, value in row.hparams.items()}} for row in self.trials
        ]

    def _shown_records(self) -> list[dict[str, Any]]:
        best_first = sorted(self.trials, key=lambda row: (row.val_top1 is None, -(row.val_top1 or 0.0), row.trial))
        return [{**record(row), "hparams_text": hparams_text(row.hparams)} for row in best_first]


def trial_dir(output_dir: Path, trial: int) -> Path:
    """The run directory of a trial in its sweep's folder."""
    return output_dir / f"trial-{trial:04d}"


def trial_row(slot: int, trial: Any) -> TrialRow:
    """What an Optuna trial, the last attempt at its slot, has come to."""
    values = list(trial.intermediate_values.values())
    if trial.value is not None and trial.state.name == "COMPLETE":
        values.append(trial.value)
    attributes = trial.user_attrs
    seeds = {int(seed): value for seed, value in attributes.get(SEEDS, {}).items()}
    return TrialRow(
        trial=slot,
        state="failed" if ERROR in attributes else _STATES[trial.state.name],
        hparams=dict(trial.params),
        val_top1=math.fsum(seeds.values()) / len(seeds) if seeds else max(values, default=None),
        val_top1_interval=mean_interval(list(seeds.values())),
        seeds=seeds,
        epochs=max(trial.intermediate_values, default=0),
        run_dir=attributes.get(RUN_DIR),
        host=attributes.get(HOST),
        error=attributes.get(ERROR),
    )


_STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "stopped", "RUNNING": "running", "WAITING": "waiting"}
"""Our words for Optuna's states. A trial that failed without an error was ended with its process."""


def best_trial(rows: Iterable[TrialRow]) -> TrialRow | None:
    """The finished trial with the best validation top-1, the earliest of equals."""
    finished = [row for row in rows if row.state == "finished" and row.val_top1 is not None]
    return max(finished, key=lambda row: (row.val_top1, -row.trial), default=None)
