"""Schedules of an optimizer's hyper-parameters, over the steps of the whole run."""

from __future__ import annotations

from typing import Any

from bopkit.hparams import BUILT_IN, HParams
from bopkit.keras2 import import_tensorflow
from bopkit.schedules import SCHEDULED


def scheduled_names(hparams: HParams) -> tuple[str, ...]:
    """The hyper-parameters that may follow a schedule in a run with these: the learning rate of Adam comes last."""
    own = hparams.own_optimizer
    names = own.schedules if own else [name for name in BUILT_IN[hparams.optimizer] if name in SCHEDULED]
    return (*names, "learning_rate")


def whole_run_schedules(hparams: HParams) -> tuple[str, ...]:
    """Names of the hyper-parameters that the optimizer brings to an end value at the last step of the run."""
    return tuple(name for name in scheduled_names(hparams) if hparams.schedule(name).takes_whole_run)


def make_schedule(hparams: HParams, name: str, steps_per_epoch: int) -> Any:
    """What a Keras optimizer takes for a hyper-parameter: a number, or a schedule over its steps.

    In a warm-up of n steps it has value / n at step 0, and its value at step n - 1. What follows begins at step n:
    those over the whole run take all steps that are left, and have their end at the step after the last one of the run.
    """
    schedules = import_tensorflow().keras.optimizers.schedules
    schedule = hparams.schedule(name)
    warmup_steps = schedule.warmup_epochs * steps_per_epoch
    steps = max(hparams.epochs * steps_per_epoch - warmup_steps, 1)  # a dry run may be shorter than its warm-up
    value: Any = schedule.start
    if schedule.kind == "linear":
        value = schedules.PolynomialDecay(schedule.start, steps, schedule.end)
    elif schedule.kind in ("cosine", "exponential"):
        from bopkit.optim.keras_schedules import Cosine, Exponential

        value = (Cosine if schedule.kind == "cosine" else Exponential)(schedule.start, schedule.end, steps)
    elif schedule.kind == "staircase":
        decay_steps = schedule.decay_epochs * steps_per_epoch
        value = schedules.ExponentialDecay(schedule.start, decay_steps, schedule.decay_rate, staircase=True)
    if not warmup_steps:
        return value
    from bopkit.optim.keras_schedules import WarmUp

    return WarmUp(schedule.start, warmup_steps, None if schedule.kind == "constant" else value)


def hyper_values(optimizer: Any, steps_back: int = 0) -> dict[str, float]:
    """The values of an optimizer's schedules at the step that comes next.

    Args:
        optimizer: What `make_optimizer` returned, or one of the optimizers in it.
        steps_back: Of which step instead: 1 for the last one that was trained.

    Returns:
        The hyper-parameters of the binary kernels' optimizer, such as `gamma` and `threshold`, and the `learning_rate`.
    """
    schedule = import_tensorflow().keras.optimizers.schedules.LearningRateSchedule
    values = {}
    for inner in getattr(optimizer, "optimizers", [optimizer]):  # a CaseOptimizer's own counter stays 0
        for name in (*getattr(inner, "hyper_names", ()), "learning_rate"):
            if name in inner._hyper:
                hyper = inner._get_hyper(name)
                value = hyper(inner.iterations - steps_back) if isinstance(hyper, schedule) else hyper
                values[name] = float(value if isinstance(value, (int, float)) else value.numpy())  # mirrored ones too
    return values
