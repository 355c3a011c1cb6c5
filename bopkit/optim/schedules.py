"""Schedules of an optimizer's hyper-parameters, over the steps of the whole run."""

from __future__ import annotations

from typing import Any

from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow

HYPER_NAMES = ("gamma", "threshold", "sigma", "alpha", "learning_rate")
"""What an optimizer of ours may follow a schedule in."""

_SCHEDULED = {
    "bop": ("gamma", "threshold"),
    "bop2nd": ("gamma", "threshold", "sigma"),
    "cema": ("gamma", "alpha"),
    "latent": (),
}
"""Which of them, by the optimizer of the binary kernels, besides the learning rate of the other variables."""


def linear(start: float, end: float | None, steps: int) -> Any:
    """A constant, or a linear way that reaches `end` after `steps`."""
    if end is None:
        return start
    return import_tensorflow().keras.optimizers.schedules.PolynomialDecay(start, steps, end)


def whole_run_schedules(hparams: HParams) -> tuple[str, ...]:
    """Names of the hyper-parameters that the optimizer brings to an end value at the last step of the run."""
    names = (*_SCHEDULED[hparams.optimizer], "learning_rate")
    return tuple(name for name in names if getattr(hparams, f"{name}_end") is not None)


def gamma_schedule(hparams: HParams, steps_per_epoch: int) -> Any:
    """A constant, a linear way, or a staircase."""
    if hparams.gamma_decay_rate is None or hparams.gamma_decay_epochs is None:
        return linear(hparams.gamma, hparams.gamma_end, hparams.epochs * steps_per_epoch)
    return import_tensorflow().keras.optimizers.schedules.ExponentialDecay(
        hparams.gamma, hparams.gamma_decay_epochs * steps_per_epoch, hparams.gamma_decay_rate, staircase=True
    )


def hyper_values(optimizer: Any, steps_back: int = 0) -> dict[str, float]:
    """The values of an optimizer's schedules at the step that comes next.

    Args:
        optimizer: What `make_optimizer` returned, or one of the optimizers in it.
        steps_back: Of which step instead: 1 for the last one that was trained.

    Returns:
        `gamma`, `threshold`, `sigma`, `alpha` and `learning_rate`, as far as the optimizer has them.
    """
    schedule = import_tensorflow().keras.optimizers.schedules.LearningRateSchedule
    values = {}
    for inner in getattr(optimizer, "optimizers", [optimizer]):  # a CaseOptimizer's own counter stays 0
        for name in HYPER_NAMES:
            if name in inner._hyper:
                hyper = inner._get_hyper(name)
                value = hyper(inner.iterations - steps_back) if isinstance(hyper, schedule) else hyper
                values[name] = float(value if isinstance(value, (int, float)) else value.numpy())  # mirrored ones too
    return values
