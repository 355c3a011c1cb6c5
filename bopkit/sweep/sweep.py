"""`run_sweep`: trials one after another until none is left, in a study that any number of processes share.

What a trial is, and why none is lost or trained twice, is in `bopkit.sweep.slots`; its process in `bopkit.sweep.child`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bopkit.errors import BopkitError, UsageError
from bopkit.hparams import override
from bopkit.progress import Progress, silent
from bopkit.registry import MODELS
from bopkit.seeds import check_seed
from bopkit.sweep import preset as presets
from bopkit.sweep import slots
from bopkit.sweep.child import SweepStopped, train_in_child
from bopkit.sweep.plan import Plan, plan_sweep
from bopkit.sweep.result import SweepResult, TrialRow, best_trial, hparams_text, train_command, trial_dir
from bopkit.sweep.space import Choices, Point
from bopkit.sweep.storage import default_storage, open_study, shown_url, storage_errors

POLL_S = 2.0
"""Time between two looks at the trials of other processes."""

_STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "stopped", "RUNNING": "running", "WAITING": "waiting"}


def run_sweep(
    model: str | None = None,
    dataset: str | None = None,
    *,
    hparams_set: str | None = None,
    hparams: Mapping[str, Any] | None = None,
    grid: Mapping[str, str] | None = None,
    search: Mapping[str, str] | None = None,
    trials: int | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    preset: str | None = None,
    storage: str | None = None,
    study: str | None = None,
    output_dir: str | Path | None = None,
    preprocess_fn: str = "default",
    data_dir: str | Path | None = None,
    data_cache: str | None = None,
    validationset: bool | None = None,
    device: str = "auto",
    precision: str | None = None,
    limit_steps: int | None = None,
    seed: int = 0,
    strategy: str | None = None,
    progress: Progress | None = None,
    train: Callable[..., Any] = train_in_child,
) -> SweepResult:
    """Train a network with many hyper-parameters, and tell which is best by validation top-1.

    The same call goes on where an earlier one stopped: finished trials are kept, killed ones resumed in their own
    run directories. The same call in other processes, also on other hosts, shares the trials that are left.

    Args:
        model: Name of an architecture; None with a preset.
        dataset: Name of a dataset; None for the preset's.
        hparams_set: Name of a hyper-parameter set; None for the architecture's first.
        hparams: Values that differ from the set in all trials.
        grid: Values by name, `1e-2|1e-3`: all combinations are trained.
        search: Values or ranges by name, `log:1e-8..1e-5` or `16..128`: TPE chooses from them.
        trials: Number of trials that TPE chooses, over all processes and calls.
        sampler: `grid` or `tpe`; None for tpe where there is a `search`.
        pruner: `median` or `none`; None for median with tpe, where a bad trial teaches enough in a few epochs.
        preset: Name of a sweep of the paper.
        storage: URL of the database; None for a SQLite file in the output folder.
        study: Name of the study in it; None for one made of model, dataset and preset.
        output_dir: The folder of the runs; None for runs/dataset/model/sweep.
        preprocess_fn: As for `train_model`, and so are all that follow.
        data_dir: Where TFDS keeps prepared datasets.
        data_cache: `memory`, or a folder.
        validationset: Validate on a tenth of the training split; None for yes with tpe, since a search that looks
            at the test split fits it.
        device: `auto`, `cpu`, `gpu` or `gpu:N`.
        precision: `float32` or `bfloat16`; None for the device's default.
        limit_steps: At most so many steps an epoch, and batches a validation.
        seed: Seeds the search, and every run in the same way.
        strategy: Distribution strategy of each trial, within this machine; None for the default.
        progress: Called with each line that a person should read.
        train: Trains one trial; it takes `train_model`'s arguments and leaves its files.

    Returns:
        All trials and the best one.

    Raises:
        UsageError: A name, a value or a range is wrong, or the study is of another sweep.
        BopkitError: The storage cannot be used, or no trial can be trained.
    """
    progress = progress or silent
    check_seed(seed)
    chosen = None if preset is None else presets.get_preset(preset)
    plan = plan_sweep(
        model,
        dataset,
        hparams_set=hparams_set,
        hparams=hparams or {},
        grid=grid or {},
        search=search or {},
        trials=trials,
        sampler=sampler,
        pruner=pruner,
        preset=chosen,
        output_dir=output_dir,
        validationset=validationset,
        options={
            "preprocess_fn": preprocess_fn,
            "data_dir": str(data_dir) if data_dir else None,
            "data_cache": data_cache,
            "device": device,
            "precision": precision,
            "limit_steps": limit_steps,
            "seed": seed,
            "strategy": strategy,
        },
    )
    plan.output_dir.mkdir(parents=True, exist_ok=True)
    url = storage or default_storage(plan.output_dir)
    with storage_errors(url):
        result = _Sweep(plan, url, study or plan.study_name, progress, train).run()
    if chosen is None:
        return result
    figures = presets.draw(chosen, plan.output_dir)
    return dataclasses.replace(result, figures=tuple(figures))


class _Recorded(Exception):
    """A trial has failed, and its error is in the study."""


class _NotOurs(Exception):
    """A trial that another process trains, or has taken over."""


class _Leaving(Exception):
    """`SystemExit`, in a form that Optuna notes as the end of the trial."""


class _Sweep:
    """One process at work on a study."""

    def __init__(self, plan: Plan, url: str, name: str, progress: Progress, train: Callable[..., Any]):
        import optuna

        from bopkit.sweep.sampler import SlotSampler

        self._plan = plan
        self._url = url
        self._say = progress
        self._train = train
        pruner: Any = optuna.pruners.NopPruner()
        if plan.pruner == "median":
            pruner = optuna.pruners.MedianPruner(n_warmup_steps=plan.epochs // 10)
        self._study = open_study(url, name, SlotSampler(plan.options["seed"]), pruner)
        self._refuse_other_sweep()
        self._has_trained = any(trial.intermediate_values for trial in slots.newest(self._study).values())

    def _refuse_other_sweep(self) -> None:
        """Raise a UsageError that names every setting in which the study's sweep differs from this one."""
        now = self._plan.definition()
        if "definition" not in self._study.user_attrs:
            self._study.set_user_attr("definition", now)
        before = self._study.user_attrs["definition"]
        different = [
            f"{name} is {json.dumps(before.get(name))} there and {json.dumps(now.get(name))} here"
            for name in sorted({*before, *now})
            if before.get(name) != now.get(name)
        ]
        if different:
            raise UsageError(
                f"Study {self._study.study_name} in {shown_url(self._url)} is another sweep: {'; '.join(different)}.",
                "Repeat its options to go on, or name another --output-dir (with --storage: another --study).",
            )

    def run(self) -> SweepResult:
        """Train until every slot has its result."""
        plan = self._plan
        self._say(
            f"{plan.trials} trials of {plan.model} on {plan.dataset}, varying {', '.join(plan.space)}; "
            f"study {self._study.study_name} in {shown_url(self._url)}"
        )
        if not plan.options["validationset"]:
            self._say(
                "the trials are compared on the test split, which flatters the best of them "
                "(--validationset keeps a tenth of the training split for that)"
            )
        try:
            while self._step():
                pass
        except (KeyboardInterrupt, SystemExit, _Leaving) as stop:
            done = sum(row.state in ("finished", "pruned", "failed") for row in self._rows())
            self._say(f"stopped: {done} of {plan.trials} trials are done; the same command goes on with the rest")
            if isinstance(stop, _Leaving):
                raise SystemExit(*stop.args) from stop
            raise
        return self._result()

    def _step(self) -> bool:
        """Train one trial, or wait for those of other processes; False when every slot has its result."""
        import optuna
        from optuna.trial import TrialState

        slots.fail_dead(self._study)
        slots.queue_next(self._study, self._plan.trials, self._plan.params_of)
        states = {trial.state for trial in slots.newest(self._study).values()}
        if TrialState.WAITING in states:
            try:
                self._study.optimize(self._objective, n_trials=1, catch=(_Recorded, _NotOurs))
            except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as error:
                if isinstance(error, ValueError) and not str(error).startswith("Cannot tell"):
                    raise
                self._say("another process has taken this trial over: it was not heard of for too long")
        elif TrialState.RUNNING in states:
            time.sleep(POLL_S)
        else:
            return False
        return True

    def _objective(self, trial: Any) -> float:
        """Train the slot of a queued trial; its best validation top-1."""
        import optuna

        if not slots.counts(self._study, trial):
            raise _NotOurs
        slot = trial.user_attrs[slots.SLOT]
        run_dir = trial_dir(self._plan.output_dir, slot)
        trial.set_user_attr(slots.OWNER, slots.this_process())
        trial.set_user_attr(slots.HOST, socket.gethostname())
        trial.set_user_attr(slots.RUN_DIR, str(run_dir))
        point = {name: _suggest(trial, name, values) for name, values in self._plan.space.items()}
        self._say(f"trial {slot}: {hparams_text(point)}  {run_dir}")
        try:
            with _system_exit_as_exception():
                value = self._train_trial(trial, slot, run_dir, point)
        except optuna.TrialPruned:
            self._say(f"trial {slot}: pruned")
            raise
        except optuna.exceptions.UpdateFinishedTrialError as error:
            raise _NotOurs from error
        except BopkitError as error:
            # Before anything has been trained a usage error is the sweep's, not the trial's.
            if isinstance(error, SweepStopped) or (isinstance(error, UsageError) and not self._has_trained):
                raise
            trial.set_user_attr(slots.ERROR, str(error))
            self._say(f"trial {slot}: failed: {error}")
            raise _Recorded from error
        self._say(f"trial {slot}: best validation top-1 {value:.2%}")
        return value

    def _train_trial(self, trial: Any, slot: int, run_dir: Path, point: Point) -> float:
        import optuna

        from bopkit.runs.directory import read_metrics, run_state

        hparams = {**self._plan.hparams, **point}
        override(MODELS.load(self._plan.model).hparams(self._plan.hparams_set), hparams)
        reported: set[int] = set()

        def report(row: Mapping[str, Any]) -> None:
            if row["epoch"] not in reported:
                reported.add(row["epoch"])
                trial.report(row["val_top1"], row["epoch"])

        def on_epoch(row: Mapping[str, Any]) -> None:
            self._has_trained = True
            report(row)
            if trial.should_prune():
                raise optuna.TrialPruned

        options = {name: value for name, value in self._plan.options.items() if value is not None}
        while True:
            self._wait_for_other_process(slot, run_dir)
            for row in _epochs(read_metrics(run_dir)):
                report(row)
            try:
                self._train(
                    self._plan.model,
                    self._plan.dataset,
                    hparams_set=self._plan.hparams_set,
                    hparams=hparams,
                    output_dir=run_dir,
                    on_epoch=on_epoch,
                    progress=lambda line: self._say_of(slot, line),
                    **options,
                )
                break
            except UsageError:
                if run_state(run_dir) != "running":  # else another process has just begun to train there
                    raise
        return max(row["val_top1"] for row in _epochs(read_metrics(run_dir)))

    def _say_of(self, slot: int, line: str) -> None:
        """Pass on what a trial says, without its list of variables, which is the same in all trials."""
        if not line.startswith(" "):
            self._say(f"trial {slot}: {line}")

    def _wait_for_other_process(self, slot: int, run_dir: Path) -> None:
        """Wait while a process trains in the run directory: one that lost its database, or an ending child."""
        from bopkit.runs.directory import run_state

        if run_state(run_dir) == "running":
            self._say(f"trial {slot}: waiting for the process that still trains it")
        while run_state(run_dir) == "running":
            time.sleep(POLL_S)

    def _rows(self) -> list[TrialRow]:
        """The trials so far, in order."""
        return [_row(slot, trial) for slot, trial in sorted(slots.newest(self._study).items())]

    def _result(self) -> SweepResult:
        rows = self._rows()
        best = best_trial(rows)
        command = ""
        if best is not None:
            options = {"hparams_set": self._plan.hparams_set, **self._plan.options}
            defaults = {"preprocess_fn": "default", "device": "auto", "seed": 0}
            options = {name: value for name, value in options.items() if value != defaults.get(name)}
            hparams = {**self._plan.hparams, **best.hparams}
            command = train_command(self._plan.model, self._plan.dataset, hparams, options)
        return SweepResult(
            study=self._study.study_name,
            storage=shown_url(self._url),
            output_dir=self._plan.output_dir,
            trials=tuple(rows),
            best=None if best is None else best.trial,
            command=command,
        )


def _suggest(trial: Any, name: str, values: Any) -> Any:
    """Let Optuna choose a value, or name the one that is fixed."""
    if isinstance(values, Choices):
        return trial.suggest_categorical(name, values.values)
    suggest = trial.suggest_int if values.whole else trial.suggest_float
    return suggest(name, values.low, values.high, log=values.log)


def _epochs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of epochs among all rows of a run."""
    return [row for row in rows if row["kind"] == "epoch"]


def _row(slot: int, trial: Any) -> TrialRow:
    values = list(trial.intermediate_values.values())
    if trial.value is not None and trial.state.name == "COMPLETE":
        values.append(trial.value)
    attributes = trial.user_attrs
    return TrialRow(
        trial=slot,
        state="failed" if slots.ERROR in attributes else _STATES[trial.state.name],
        hparams=dict(trial.params),
        val_top1=max(values, default=None),
        epochs=max(trial.intermediate_values, default=0),
        run_dir=attributes.get(slots.RUN_DIR),
        host=attributes.get(slots.HOST),
        error=attributes.get(slots.ERROR),
    )


@contextlib.contextmanager
def _system_exit_as_exception() -> Iterator[None]:
    try:
        yield
    except SystemExit as stop:
        raise _Leaving(stop.code) from stop
