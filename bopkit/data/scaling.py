"""What pixels of 0 to 255 become before a network sees them: a range, or mean and standard deviation.

A network without a model card wants what it was trained on, and nothing in its file says that. Users name it behind a
preprocessing, as `resize:0..1`:

- `LOW..HIGH`: black becomes LOW and white HIGH.
- `mean=M,std=S`: (pixel / 255 - M) / S, as torchvision and timm state them, one number for all channels or one for
  each, as `mean=0.485/0.456/0.406,std=0.229/0.224/0.225`.
- `imagenet`: mean and standard deviation of ImageNet's pixels, which are these.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any

from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions
Array = Any  # of NumPy, which listing names and datasets need not import

EXAMPLES = "resize:-1..1, resize:0..1, resize:0..255, resize:imagenet, resize:mean=0.5,std=0.25"
"""What a user may type, for hints."""


class Scaling(abc.ABC):
    """From pixels, 0 to 255, to the values that a network takes."""

    @property
    @abc.abstractmethod
    def value_range(self) -> tuple[float, float]:
        """The smallest and largest value of any channel."""

    @abc.abstractmethod
    def apply(self, pixels: Tensor) -> Tensor:
        """Uint8 or float32 [..., H, W, C], 0 to 255, to float32 [..., H, W, C]."""

    @abc.abstractmethod
    def undo(self, inputs: Array) -> Array:
        """NumPy float32 [..., H, W, C], as networks see it, to pixels, 0 to 255 and not rounded."""


@dataclasses.dataclass(frozen=True)
class Range(Scaling):
    """Black becomes `low` and white `high`."""

    low: float
    high: float

    @property
    def value_range(self) -> tuple[float, float]:
        """`low` and `high`."""
        return self.low, self.high

    def apply(self, pixels: Tensor) -> Tensor:
        """As `Scaling.apply`."""
        tf = import_tensorflow()
        return tf.cast(pixels, tf.float32) / (255.0 / (self.high - self.low)) + self.low

    def undo(self, inputs: Array) -> Array:
        """As `Scaling.undo`."""
        return (inputs - self.low) * (255.0 / (self.high - self.low))


@dataclasses.dataclass(frozen=True)
class Normalisation(Scaling):
    """Subtract a mean and divide by a standard deviation, one a channel, of pixels scaled to 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def value_range(self) -> tuple[float, float]:
        """Of the channel that goes lowest, and of the one that goes highest."""
        channels = list(zip(self.mean, self.std, strict=True))
        return min(-mean / std for mean, std in channels), max((1 - mean) / std for mean, std in channels)

    def apply(self, pixels: Tensor) -> Tensor:
        """As `Scaling.apply`."""
        tf = import_tensorflow()
        width, channels = pixels.shape[-2:]
        mean, std = (tf.tile(tf.constant(values) * 255.0, [width]) for values in (self.mean, self.std))
        # A row at a time: broadcasting over a last dimension of 3 takes several times longer, for the same bits.
        rows = tf.reshape(tf.cast(pixels, tf.float32), [-1, width * channels])
        normalised = tf.reshape((rows - mean) * (1.0 / std), tf.shape(pixels))
        normalised.set_shape(pixels.shape)
        return normalised

    def undo(self, inputs: Array) -> Array:
        """As `Scaling.undo`."""
        return (inputs * self.std + self.mean) * 255.0


UNIT_RANGE = Range(-1.0, 1.0)
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def parse_scaling(text: str, name: str, channels: int) -> Scaling:
    """Read what a user typed behind the colon.

    Args:
        text: `LOW..HIGH`, `mean=M,std=S` or `imagenet`.
        name: The whole name, for errors.
        channels: Of the network's input.

    Raises:
        UsageError: It is none of these, a number cannot be right, or there are not as many as channels.
    """
    if text == "imagenet":
        if channels != len(IMAGENET.mean):
            raise UsageError(f"{name} is for 3 channels, not {channels}.", f"Name another: {EXAMPLES}.")
        return IMAGENET
    if ".." in text:
        low, high = (_number(part, name) for part in text.split("..", 1))
        if low >= high:
            raise UsageError(
                f"{name} has no range from a smaller to a larger number.", f"Write for instance {EXAMPLES}."
            )
        return Range(low, high)
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    if set(parts) != {"mean", "std"}:
        raise _unknown(name)
    mean, std = ([_number(each, name) for each in parts[key].split("/")] for key in ("mean", "std"))
    if not all(0 <= each <= 1 for each in mean) or not all(0 < each <= 1 for each in std):
        raise UsageError(
            f"{name}: a mean lies from 0 to 1, and a standard deviation above 0 and up to 1.",
            "They are of pixels from 0 to 1: divide those of pixels from 0 to 255 by 255.",
        )
    if {len(mean), len(std)} - {1, channels}:
        raise UsageError(
            f"{name}: the network takes {channels} {'channel' if channels == 1 else 'channels'}.",
            "Give one number for all, or one for each, with / between them.",
        )
    return Normalisation(*(tuple(each * channels if len(each) == 1 else each) for each in (mean, std)))


def unknown_preprocessing(needs_it: str) -> UsageError:
    """The error for a network of which nobody said what range of values it wants.

    Args:
        needs_it: What cannot be done without, as the subject of a sentence.
    """
    return UsageError(
        f"{needs_it} needs the preprocessing that the network was trained with, and no model card names it.",
        f"Name it with --preprocess-fn, for instance {EXAMPLES}.",
    )


def _number(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise _unknown(name) from error
    if not math.isfinite(number):
        raise _unknown(name)
    return number


def _unknown(name: str) -> UsageError:
    return UsageError(f"{name!r} has no range that is known.", f"Write for instance {EXAMPLES}.")
