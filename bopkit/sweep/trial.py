"""One trial of a sweep: train its slot in a run directory, and tell the study of every epoch."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bopkit.errors import BopkitError, UsageError
from bopkit.hparams import override
from bopkit.progress import Progress
from bopkit.registry import MODELS
from bopkit.runs.directory import read_epochs, run_state
from bopkit.sweep import slots
from bopkit.sweep.child import SweepStopped
from bopkit.sweep.command import hparams_text
from bopkit.sweep.plan import SweepPlan
from bopkit.sweep.result import trial_dir
from bopkit.sweep.space import Choices, Point, Range
from bopkit.text import count_text

POLL_S = 2.0
"""Time between two looks at what other processes do."""


class TrialFailed(Exception):
    """A trial has failed, and its error is in the study."""


class TrialTakenOver(Exception):
    """Another process trains this trial, or has taken it over."""


class TrialExited(Exception):
    """`SystemExit`, in a form that Optuna notes as the end of the trial; with the exit code."""


class TrialObjective:
    """What Optuna calls to train the trial that it has popped from the queue.

    Args:
        study: The Optuna study.
        plan: The sweep.
        train: Trains a run, as `train_model` does.
        progress: Called with each line that a person should read.
    """

    def __init__(self, study: Any, plan: SweepPlan, train: Callable[..., Any], progress: Progress):
        self._study = study
        self._plan = plan
        self._train = train
        self._say = progress
        self._has_trained = any(trial.intermediate_values for trial in slots.newest(study).values())

    def __call__(self, trial: Any) -> float:
        """The best validation top-1 of a trial.

        Raises:
            TrialFailed: It cannot be trained; others may be.
            TrialTakenOver: It belongs to another process.
            TrialExited: The training asked for the end of this process.
            TrialPruned: It is stopped early; the class is Optuna's.
            BopkitError: No trial can be trained.
        """
        import optuna

        if not slots.counts(self._study, trial):
            raise TrialTakenOver
        slot = trial.user_attrs[slots.SLOT]
        run_dir = trial_dir(self._plan.output_dir, slot)
        trial.set_user_attr(slots.OWNER, slots.this_process())
        trial.set_user_attr(slots.HOST, socket.gethostname())
        trial.set_user_attr(slots.RUN_DIR, str(run_dir))
        point = {name: _suggest(trial, name, values) for name, values in self._plan.space.items()}
        self._say(f"trial {slot}: {hparams_text(point)}  {run_dir}")
        try:
            with _system_exit_as_exception():
                value = self._train_slot(trial, slot, point)
        except optuna.TrialPruned:
            self._say(f"trial {slot}: pruned")
            raise
        except optuna.exceptions.UpdateFinishedTrialError as error:
            raise TrialTakenOver from error
        except BopkitError as error:
            # Before anything has been trained a usage error is the sweep's, not the trial's.
            if isinstance(error, SweepStopped) or (isinstance(error, UsageError) and not self._has_trained):
                raise
            trial.set_user_attr(slots.ERROR, str(error))
            self._say(f"trial {slot}: failed: {error}")
            raise TrialFailed from error
        of_seeds = f", mean of {count_text(len(seeds), 'seed')}" if (seeds := self._plan.seeds) is not None else ""
        self._say(f"trial {slot}: best validation top-1 {value:.2%}{of_seeds}")
        return value

    def _train_slot(self, trial: Any, slot: int, point: Point) -> float:
        """Train a slot with each of its seeds, or go on; the best validation top-1, over seeds its mean."""
        training, seeded = self._plan.training, self._plan.seeds is not None
        hparams = {**training.hparams, **point}
        epochs = override(MODELS.load(training.model).hparams(training.hparams_set), hparams).epochs
        values: dict[int, float] = {}
        for seed, run_dir in self._plan.runs_of(slot).items():
            settings = {**training.to_dict(), "hparams": hparams, "seed": seed, "output_dir": run_dir}
            name = f"trial {slot}, seed {seed}" if seeded else f"trial {slot}"
            values[seed] = self._train_run(trial, name, settings, epochs_before=epochs * len(values))
            if seeded:
                trial.set_user_attr(slots.SEEDS, {str(each): value for each, value in values.items()})
        return math.fsum(values.values()) / len(values)

    def _train_run(self, trial: Any, name: str, settings: dict[str, Any], epochs_before: int) -> float:
        """Train in a run directory, or go on there; the best validation top-1.

        Args:
            trial: Optuna's.
            name: Of the run, for a person.
            settings: Arguments of `train_model`.
            epochs_before: Of the trial's earlier runs: epochs are reported one after the other.
        """
        import optuna

        run_dir: Path = settings["output_dir"]
        reported: set[int] = set()

        def report(row: Mapping[str, Any]) -> None:
            if row["epoch"] not in reported:
                reported.add(row["epoch"])
                trial.report(row["val_top1"], epochs_before + row["epoch"])

        def on_epoch(row: Mapping[str, Any]) -> None:
            self._has_trained = True
            report(row)
            if trial.should_prune():
                raise optuna.TrialPruned

        def say(line: str) -> None:
            if not line.startswith(" "):  # a list of variables, which is the same in all trials
                self._say(f"{name}: {line}")

        while True:
            self._wait_for_other_process(name, run_dir)
            for row in read_epochs(run_dir):
                report(row)
            try:
                self._train(**settings, on_epoch=on_epoch, progress=say)
                return max(row["val_top1"] for row in read_epochs(run_dir))
            except UsageError:
                if run_state(run_dir) != "running":  # else another process has just begun to train there
                    raise

    def _wait_for_other_process(self, name: str, run_dir: Path) -> None:
        """Wait while a process trains in the run directory: one that lost its database, or an ending child."""
        if run_state(run_dir) == "running":
            self._say(f"{name}: waiting for the process that is still training it")
        while run_state(run_dir) == "running":
            time.sleep(POLL_S)


def _suggest(trial: Any, name: str, values: Choices | Range) -> Any:
    """Let Optuna choose a value, or name the one that is fixed."""
    if isinstance(values, Choices):
        return trial.suggest_categorical(name, values.values)
    suggest = trial.suggest_int if values.whole else trial.suggest_float
    return suggest(name, values.low, values.high, log=values.log)


@contextlib.contextmanager
def _system_exit_as_exception() -> Iterator[None]:
    try:
        yield
    except SystemExit as stop:
        raise TrialExited(stop.code) from stop
