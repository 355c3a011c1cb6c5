"""Training that goes astray ends with an error, before a network that it has ruined is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow
from bopkit.optim import is_marked
from bopkit.training.step import Sums


class WeightCheck:
    """Checks that all weights, and the averages of the optimizer, are finite.

    A loss that is finite does not show it: a sign hides what is not a number from later layers. Of an optimizer of the
    user's own it also checks that marked kernels hold -1 and +1: with other values the network is none that is
    exported, and nothing else shows it.

    Args:
        network: The network.
        optimizer: Its optimizer.
        own_optimizer: Name of the user's module that made it for the marked kernels; empty for bopkit's.
    """

    def __init__(self, network: Any, optimizer: Any, own_optimizer: str = ""):
        self._own_optimizer = own_optimizer
        kernels = [kernel for kernel in network.trainable_weights if is_marked(kernel)]
        self._are_signs = import_tensorflow().function(lambda: _all_signs(kernels), autograph=False)
        # Listed at the first check: an optimizer's averages are there from the first step on. Batch norm's statistics
        # are left out: reading them is an exchange between workers.
        self._are_finite = import_tensorflow().function(
            lambda: _all_finite([*network.trainable_weights, *optimizer.variables()]), autograph=False
        )

    def __call__(self, epoch: int, step: int) -> None:
        """Check them after a step; `epoch` counts from 0.

        Raises:
            BopkitError: A weight is not finite.
        """
        if not self._are_finite():
            raise _diverged(f"A weight is not finite after step {step} of epoch {epoch + 1}.")
        if self._own_optimizer and not self._are_signs():
            raise BopkitError(
                f"After step {step} of epoch {epoch + 1} a marked kernel holds other values than -1 and +1.",
                f"Let the optimizer of {self._own_optimizer} flip weights, and start over with another --output-dir.",
            )


def check_loss(sums: Sums, name: str, when: str) -> None:
    """Refuse a loss that is not finite.

    Args:
        sums: The figures with the loss.
        name: What loss it is, in words.
        when: Where in the run it is, in words.

    Raises:
        BopkitError: It is not finite.
    """
    if not math.isfinite(sums.loss):
        raise _diverged(f"The {name} is {sums.loss / sums.pictures} {when}.")


def parting_warning(row: Mapping[str, Any], classes: int, has_new_statistics: bool) -> str | None:
    """What to tell where a network answers well in training and no better than by chance when it is validated.

    Args:
        row: Of an epoch.
        classes: Number of classes.
        has_new_statistics: Whether batch-norm statistics were estimated anew for the validated weights.

    Returns:
        One line; None where the two do not part so far.
    """
    chance = 1 / classes
    if row["top1"] < 3 * chance or row.get("val_top1", 1.0) > 1.5 * chance:
        return None
    if has_new_statistics:
        reason = (
            "The pictures of the two may differ in kind, or their labels in order: `bopkit data preview DATASET` draws "
            "them"
        )
    else:
        reason = (
            "Batch norm's moving averages may lag behind the weights: in a new run, --batch-norm-pictures 1000 "
            "estimates them anew"
        )
    figures = f"top-1 is {row['top1']:.1%} in training, and {row['val_top1']:.1%} in validation, which is chance"
    return f"Warning: {figures}. {reason}"


def _diverged(what: str) -> BopkitError:
    """The error for a run that training has ruined: other settings make it another run."""
    return BopkitError(
        what, "Start over with another --output-dir, and a lower `--hparams learning_rate=` or another --seed."
    )


def _all_finite(variables: list[Any]) -> Any:
    tf = import_tensorflow()
    values = [tf.convert_to_tensor(variable) for variable in variables if variable.dtype.is_floating]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])


def _all_signs(kernels: list[Any]) -> Any:
    tf = import_tensorflow()
    return tf.reduce_all([tf.reduce_all(tf.abs(tf.convert_to_tensor(kernel)) == 1.0) for kernel in kernels])
