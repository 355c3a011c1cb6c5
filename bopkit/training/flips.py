"""How many binary weights flip, measured on the weights themselves, for any optimizer."""

from __future__ import annotations

from typing import Any

from bopkit.keras2 import import_tensorflow
from bopkit.optim import binary_layers

MEASURE_EVERY_STEPS = 50
"""Steps between two measurements: comparing all kernels costs about as much as a small layer."""


class FlipMeter:
    """Compares the signs of binary kernels before and after a step.

    Args:
        model: A built network.
    """

    def __init__(self, model: Any):
        tf = import_tensorflow()
        self._kernels = [layer.kernel for layer in binary_layers(model)]
        self._before: list[Any] | None = None
        self._weights = sum(int(tf.size(kernel)) for kernel in self._kernels)
        self._ratios: list[float] = []

    def before_step(self, step: int) -> None:
        """Remember the signs, at every `MEASURE_EVERY_STEPS`th step of an epoch."""
        tf = import_tensorflow()
        if step % MEASURE_EVERY_STEPS == 0:
            self._before = [tf.convert_to_tensor(kernel >= 0) for kernel in self._kernels]

    def after_step(self) -> None:
        """Count the signs that the step changed."""
        tf = import_tensorflow()
        if self._before is None:
            return
        flips = sum(
            int(tf.math.count_nonzero(tf.not_equal(before, kernel >= 0)))
            for before, kernel in zip(self._before, self._kernels, strict=True)
        )
        self._ratios.append(flips / max(self._weights, 1))
        self._before = None

    @property
    def latest(self) -> float | None:
        """Share of the binary weights that flipped in the step measured last, 0 to 1."""
        return self._ratios[-1] if self._ratios else None

    def epoch_mean(self) -> float:
        """Mean share of the epoch's measured steps, 0 to 1; forgets them."""
        ratios, self._ratios = self._ratios, []
        return sum(ratios) / max(len(ratios), 1)
