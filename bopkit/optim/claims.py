"""Which optimizer trains which variable."""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit.binary_kernels import is_marked
from bopkit.errors import BopkitError
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow
from bopkit.optim.schedules import make_schedule, scheduled_names
from bopkit.own_optimizer import make_own_optimizer


@dataclasses.dataclass(frozen=True)
class Claim:
    """One trainable variable and the optimizer that trains it.

    Attributes:
        variable: Name of the variable.
        shape: Its shape.
        optimizer: Name of its class: `Bop`, `Bop2nd`, `CEMA`, `Bold`, one of the user's own, or `Adam`.
    """

    variable: str
    shape: tuple[int, ...]
    optimizer: str


def make_optimizer(model: Any, hparams: HParams, steps_per_epoch: int) -> tuple[Any, list[Claim]]:
    """Make the optimizer of a network, with its schedules and all its variables, and say what it trains with what.

    The variables are there before the first step, so that a checkpoint is whole whenever it is written.

    Args:
        model: A built `tf.keras.Model`.
        hparams: Its hyper-parameters.
        steps_per_epoch: Steps an epoch; schedules count steps.

    Returns:
        A legacy Keras optimizer (larq's `CaseOptimizer`, or Adam alone for latent weights), and one claim a trainable
        variable.

    Raises:
        BopkitError: No variable is marked for an optimizer that flips, or a module of the user's makes none.
    """
    tf = import_tensorflow()
    from larq.optimizers import CaseOptimizer

    rates = {name: make_schedule(hparams, name, steps_per_epoch) for name in scheduled_names(hparams)}
    adam = tf.keras.optimizers.legacy.Adam(rates.pop("learning_rate"))
    if hparams.optimizer == "latent":
        return _alone(adam, model)
    flipping = _flipping_optimizer(hparams, rates)
    owners = [flipping if is_marked(variable) else adam for variable in model.trainable_variables]
    name = type(flipping).__name__
    if flipping not in owners and any(map(is_marked, model.weights)):  # all of them are frozen
        return _alone(adam, model)
    if flipping not in owners:
        raise BopkitError(
            f"No kernel of this network is marked for {name}.",
            "Give its layers `**bopkit.optim.binary_kernel(hparams.optimizer)`.",
        )
    both = CaseOptimizer((is_marked, flipping), default_optimizer=adam)
    owned = list(zip(owners, model.trainable_variables, strict=True))
    for inner in both.optimizers:
        inner._create_all_weights([variable for owner, variable in owned if owner is inner])
    _ = both.iterations  # stays 0, and is part of a checkpoint
    return both, [_claim(variable, owner) for owner, variable in owned]


def _alone(optimizer: Any, model: Any) -> tuple[Any, list[Claim]]:
    """An optimizer of all trainable variables, with its own, and the claims."""
    optimizer._create_all_weights(model.trainable_variables)
    return optimizer, [_claim(variable, optimizer) for variable in model.trainable_variables]


def _flipping_optimizer(hparams: HParams, rates: dict[str, Any]) -> Any:
    """The optimizer of the binary kernels; `rates` are its hyper-parameters that may follow a schedule."""
    from bopkit.optim.flipping import CEMA, Bold, Bop, Bop2nd, LegacyOptimizer

    if hparams.own_optimizer is not None:
        values = {name: getattr(hparams, name) for name in hparams.own_optimizer.fields}
        return make_own_optimizer(hparams.optimizer, hparams.own_optimizer, {**values, **rates}, LegacyOptimizer)
    if hparams.optimizer == "bold":
        return Bold(**rates)
    if hparams.optimizer == "cema":
        return CEMA(**rates)
    if hparams.optimizer == "bop2nd":
        return Bop2nd(**rates, moments=hparams.moments, at_zero=hparams.at_zero)
    return Bop(**rates, at_zero=hparams.at_zero)


def _claim(variable: Any, optimizer: Any) -> Claim:
    return Claim(variable.name, tuple(variable.shape), type(optimizer).__name__)
