"""How many binary weights flip, layer by layer, measured on the weights themselves, for any optimizer."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from bopkit.keras2 import import_tensorflow
from bopkit.optim import binary_layers


@dataclasses.dataclass(frozen=True)
class LayerFlips:
    """What one step changed in one binary kernel.

    Attributes:
        name: Name of the layer.
        flips: Weights whose sign changed.
        weights: Weights of the kernel.
    """

    name: str
    flips: int
    weights: int

    @property
    def flip_ratio(self) -> float:
        """Share of the weights that flipped, 0 to 1."""
        return self.flips / self.weights

    @property
    def pi_t(self) -> float:
        """ln(flip ratio + e^-9), -9 to about 0: equation 7 of the Bop paper (arXiv 1906.02107)."""
        return math.log(self.flip_ratio + math.exp(-9))

    def to_dict(self) -> dict[str, float]:
        """The figures as plain JSON values."""
        return {"flips": self.flips, "flip_ratio": self.flip_ratio, "pi_t": self.pi_t}


class FlipMeter:
    """Compares the signs of binary kernels before and after a step.

    Comparing costs about as much as a small layer: measure one step in many.

    Args:
        model: A built network.
    """

    def __init__(self, model: Any):
        tf = import_tensorflow()
        layers = list(binary_layers(model))
        self._names = [layer.name for layer in layers]
        self._weights = [math.prod(layer.kernel.shape) for layer in layers]
        self._before: list[Any] = []

        def signs() -> list[Any]:
            return [layer.kernel >= 0 for layer in layers]

        def flips(before: list[Any]) -> list[Any]:
            return [tf.math.count_nonzero(old != new) for old, new in zip(before, signs(), strict=True)]

        self._signs, self._flips = (tf.function(each, autograph=False) for each in (signs, flips))

    def before_step(self) -> None:
        """Remember the signs."""
        self._before = self._signs()

    def after_step(self) -> list[LayerFlips]:
        """What has changed since `before_step`, in the network's order."""
        flips = (int(count) for count in self._flips(self._before))
        self._before = []
        return [LayerFlips(*each) for each in zip(self._names, flips, self._weights, strict=True)]


def flip_ratio(layers: list[LayerFlips]) -> float:
    """Share of all binary weights that flipped, 0 to 1."""
    return sum(layer.flips for layer in layers) / max(sum(layer.weights for layer in layers), 1)
