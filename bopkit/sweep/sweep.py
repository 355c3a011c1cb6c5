"""`run_sweep`: trials one after another until none is left, in a study that any number of processes share.

Why no trial is lost or trained twice is in `bopkit.sweep.slots`; how one is trained in `bopkit.sweep.trial`, and in a
process of its own in `bopkit.sweep.child`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bopkit.interruption import interruptible
from bopkit.pretrained import model_path
from bopkit.progress import Progress, silent
from bopkit.sweep import slots
from bopkit.sweep.child import train_in_child
from bopkit.sweep.command import train_command
from bopkit.sweep.options import SweepOptions
from bopkit.sweep.picture import draw_sweep
from bopkit.sweep.plan import SweepPlan, plan_sweep
from bopkit.sweep.preset import draw_preset, names_of_trials
from bopkit.sweep.result import SweepResult, TrialRow, best_trial, trial_row
from bopkit.sweep.storage import DEFINITION, open_study, refuse_other_sweep, shown_url, storage_errors
from bopkit.sweep.trial import POLL_S, TrialExited, TrialFailed, TrialObjective, TrialTakenOver
from bopkit.text import count_text
from bopkit.training.options import TrainOptions


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
    seeds: str | Sequence[int] | None = None,
    preprocess_fn: str = "default",
    input_shape: tuple[int, int, int] | None = None,
    data_dir: str | Path | None = None,
    data_cache: str | None = None,
    teacher: Sequence[str | Path] | None = None,
    teacher_preprocess_fn: str | None = None,
    batch_norm_pictures: int | None = None,
    train_split: str | None = None,
    validation_split: str | None = None,
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
        seeds: Train every setting with each of these seeds, `0-4` or a sequence of numbers; their mean is the value.
        preprocess_fn: As for `train_model`, and so are all that follow.
        input_shape: Height, width, channels of the network's input; None for those of the dataset.
        data_dir: Where TFDS keeps prepared datasets.
        data_cache: `memory`, or a folder.
        teacher: Networks whose answers the network learns; None for none.
        teacher_preprocess_fn: Name of the preprocessing of teachers that carry no model card.
        batch_norm_pictures: Training pictures that batch-norm statistics are estimated over; 0 for moving averages.
        train_split: The split that trains; None for `train`.
        validation_split: The split that validates; None for the test split, or as `validationset` says.
        validationset: Validate on a tenth of the training split; None for yes with tpe, since a search that looks
            at the test split fits it.
        device: `auto`, `cpu`, `gpu` or `gpu:N`.
        precision: `float32` or `bfloat16`; None for the device's default.
        limit_steps: At most so many steps an epoch, and batches a validation.
        seed: Seeds the search, and every run in the same way unless there are `seeds`.
        strategy: Distribution strategy of each trial, within this machine; None for the default.
        progress: Called with each line for the user.
        train: Trains one trial; it takes `train_model`'s arguments and leaves its files.

    Returns:
        All trials and the best one.

    Raises:
        UsageError: A name, a value or a range is wrong, or the study belongs to another sweep.
        BopkitError: The storage cannot be used, or no trial can be trained.
    """
    training = TrainOptions(
        **names_of_trials(preset, model, dataset, hparams_set),
        hparams=hparams or {},
        preprocess_fn=preprocess_fn,
        input_shape=input_shape,
        data_dir=data_dir,
        data_cache=data_cache,
        teacher=teacher,
        teacher_preprocess_fn=teacher_preprocess_fn,
        batch_norm_pictures=batch_norm_pictures,
        train_split=train_split,
        validation_split=validation_split,
        device=device,
        precision=precision,
        limit_steps=limit_steps,
        seed=seed,
        strategy=strategy or "auto",
    )
    options = SweepOptions(
        training=training,
        grid=grid or {},
        search=search or {},
        trials=trials,
        sampler=sampler,
        pruner=pruner,
        preset=preset,
        storage=storage,
        study=study,
        output_dir=output_dir,
        seeds=seeds,
        validationset=validationset,
    )
    return run_trials(options, progress or silent, train)


def run_trials(
    options: SweepOptions, progress: Progress = silent, train: Callable[..., Any] = train_in_child
) -> SweepResult:
    """Sweep as `run_sweep` does, with the settings in one object.

    Args:
        options: What to train, what to vary, and where to keep it.
        progress: Called with each line for the user.
        train: Trains one trial; it takes `train_model`'s arguments and leaves its files.

    Returns:
        All trials and the best one.

    Raises:
        UsageError: A name, a value or a range is wrong, or the study belongs to another sweep.
        BopkitError: The storage cannot be used, or no trial can be trained.
    """
    plan = plan_sweep(options)
    named = [*(plan.training.teacher or ()), *([plan.training.from_model] if plan.training.from_model else [])]
    for each in named:
        model_path(each, progress)  # a download is waited for once, and not in a trial
    plan.output_dir.mkdir(parents=True, exist_ok=True)
    with storage_errors(plan.storage):
        study = _open_study(plan)
        plan = plan.going_on_with(study.user_attrs.get(DEFINITION))
        refuse_other_sweep(study, plan.definition(), plan.storage)
        _announce(study, plan, progress)
        _train_until_done(study, plan, TrialObjective(study, plan, train, progress), progress)
        result = _result(study, plan)
    figures = draw_sweep(plan, result) if plan.preset is None else draw_preset(plan.preset, plan.output_dir)
    return dataclasses.replace(result, figures=tuple(figures))


def _open_study(plan: SweepPlan) -> Any:
    """The Optuna study of a sweep."""
    import optuna

    from bopkit.sweep.sampler import SlotSampler

    pruner: Any = optuna.pruners.NopPruner()
    if plan.pruner == "median":
        pruner = optuna.pruners.MedianPruner(n_warmup_steps=plan.epochs // 10)
    return open_study(plan.storage, plan.study, SlotSampler(plan.training.seed), pruner)


def _announce(study: Any, plan: SweepPlan, progress: Progress) -> None:
    """Tell what is going to be trained."""
    of_seeds = "" if plan.seeds is None else f", each with {count_text(len(plan.seeds), 'seed')}"
    progress(
        f"{count_text(plan.trials, 'trial')} of {plan.training.model} on {plan.training.dataset_name}, "
        f"varying {', '.join(plan.space)}{of_seeds}; study {study.study_name} in {shown_url(plan.storage)}"
    )
    if not (plan.training.validationset or plan.training.validation_split):
        progress(
            "the trials are compared on the test split, which flatters the best of them "
            "(--validationset keeps a tenth of the training split for that)"
        )


def _train_until_done(study: Any, plan: SweepPlan, objective: TrialObjective, progress: Progress) -> None:
    """Train until every slot has its result; SQLAlchemy can swallow what a signal raises while it cleans up."""
    try:
        with interruptible() as check_interruption:
            while _train_next(study, plan, objective, progress):
                check_interruption()
    except (KeyboardInterrupt, SystemExit, TrialExited) as stop:
        done = sum(row.state in ("finished", "pruned", "failed") for row in _rows(study))
        progress(f"stopped: {done} of {plan.trials} trials are done; the same command resumes with the rest")
        if isinstance(stop, TrialExited):
            raise SystemExit(*stop.args) from stop
        raise


def _train_next(study: Any, plan: SweepPlan, objective: TrialObjective, progress: Progress) -> bool:
    """Train one trial, or wait for those of other processes; False when every slot has its result."""
    import optuna
    from optuna.trial import TrialState

    slots.fail_dead(study)
    slots.queue_next(study, plan.trials, plan.params_of)
    states = {trial.state for trial in slots.newest(study).values()}
    if TrialState.WAITING in states:
        try:
            study.optimize(objective, n_trials=1, catch=(TrialFailed, TrialTakenOver))
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as error:
            if isinstance(error, ValueError) and not str(error).startswith("Cannot tell"):
                raise
            progress("another process has taken over this trial, because this one sent no heartbeat for too long")
    elif TrialState.RUNNING in states:
        time.sleep(POLL_S)
    else:
        return False
    return True


def _rows(study: Any) -> list[TrialRow]:
    """The trials so far, in order."""
    return [trial_row(slot, trial) for slot, trial in sorted(slots.newest(study).items())]


def _result(study: Any, plan: SweepPlan) -> SweepResult:
    """What the trials have come to."""
    rows = _rows(study)
    best = best_trial(rows)
    command = ""
    if best is not None:
        hparams = {**plan.training.hparams, **best.hparams}
        seed = plan.training.seed if plan.seeds is None else plan.seeds[0]
        command = train_command(dataclasses.replace(plan.training, hparams=hparams, seed=seed))
    return SweepResult(
        study=study.study_name,
        storage=shown_url(plan.storage),
        output_dir=plan.output_dir,
        trials=tuple(rows),
        best=None if best is None else best.trial,
        command=command,
    )
