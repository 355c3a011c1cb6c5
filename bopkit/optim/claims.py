"""Which optimizer trains which variable."""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit.errors import BopkitError
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow


@dataclasses.dataclass(frozen=True)
class Claim:
    """One trainable variable and the optimizer that trains it.

    Attributes:
        variable: Name of the variable.
        shape: Its shape.
        optimizer: `Bop` or `Adam`.
    """

    variable: str
    shape: tuple[int, ...]
    optimizer: str


def make_optimizer(model: Any, hparams: HParams, steps_per_epoch: int) -> tuple[Any, list[Claim]]:
    """Make the optimizer of a network, with its schedules, and say what it trains with what.

    Args:
        model: A built `tf.keras.Model`.
        hparams: Its hyper-parameters.
        steps_per_epoch: Steps an epoch; schedules count steps.

    Returns:
        A legacy Keras optimizer (larq's `CaseOptimizer` for Bop), and one claim a trainable variable.

    Raises:
        BopkitError: Bop would get no variable.
    """
    tf = import_tensorflow()
    from larq.optimizers import Bop, CaseOptimizer

    steps = steps_per_epoch * hparams.epochs
    adam = tf.keras.optimizers.legacy.Adam(_linear(hparams.learning_rate, hparams.learning_rate_end, steps))
    if hparams.optimizer == "latent":
        return adam, [_claim(variable, "Adam") for variable in model.trainable_variables]
    if hparams.gamma_decay_rate is not None and hparams.gamma_decay_epochs is not None:
        gamma = tf.keras.optimizers.schedules.ExponentialDecay(
            hparams.gamma, hparams.gamma_decay_epochs * steps_per_epoch, hparams.gamma_decay_rate, staircase=True
        )
    else:
        gamma = _linear(hparams.gamma, hparams.gamma_end, steps)
    bop = Bop(threshold=hparams.threshold, gamma=gamma)
    claims = [
        _claim(variable, "Bop" if Bop.is_binary_variable(variable) else "Adam")
        for variable in model.trainable_variables
    ]
    if not any(claim.optimizer == "Bop" for claim in claims):
        raise BopkitError(
            "No kernel of this network is marked for Bop.",
            "Give its layers `**bopkit.optim.binary_kernel(hparams.optimizer)`.",
        )
    return CaseOptimizer((Bop.is_binary_variable, bop), default_optimizer=adam), claims


def _linear(start: float, end: float | None, steps: int) -> Any:
    """A constant, or a linear decay that reaches `end` after `steps`."""
    if end is None:
        return start
    return import_tensorflow().keras.optimizers.schedules.PolynomialDecay(start, steps, end)


def _claim(variable: Any, optimizer: str) -> Claim:
    return Claim(variable.name, tuple(variable.shape), optimizer)
