"""Schedules that Keras lacks. Imported when one is first asked for, since it needs Keras."""

from __future__ import annotations

import math
from typing import Any

from bopkit.keras2 import import_tensorflow

tf: Any = import_tensorflow()
KerasSchedule: Any = tf.keras.optimizers.schedules.LearningRateSchedule


class _FromTo(KerasSchedule):
    """A schedule that comes to its end and stays there.

    Args:
        start: Value at step 0.
        end: Value from step `steps` on.
        steps: Steps in between.
    """

    def __init__(self, start: float, end: float, steps: int):
        self.start, self.end, self.steps = start, end, steps

    def _done(self, step: Any) -> Any:
        """The share of the way, 0 to 1, a float32 scalar."""
        return tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0)

    def get_config(self) -> dict[str, Any]:
        """The arguments as plain values."""
        return {"start": self.start, "end": self.end, "steps": self.steps}


@tf.keras.utils.register_keras_serializable("bopkit")
class Cosine(_FromTo):
    """Half a period of a cosine: slow at first and at last."""

    def __call__(self, step: Any) -> Any:
        """The value at a step, a float32 scalar."""
        left = (1.0 + tf.cos(math.pi * self._done(step))) / 2.0
        return self.end + (self.start - self.end) * left


@tf.keras.utils.register_keras_serializable("bopkit")
class Exponential(_FromTo):
    """The same factor in each step, from a value above 0 to another."""

    def __call__(self, step: Any) -> Any:
        """The value at a step, a float32 scalar."""
        done = self._done(step)
        return tf.where(done < 1.0, self.start * (self.end / self.start) ** done, self.end)


@tf.keras.utils.register_keras_serializable("bopkit")
class WarmUp(KerasSchedule):
    """A linear rise, and then another schedule: `value` / `steps` at step 0, `value` at the last step of the rise.

    Args:
        value: Where the rise leads.
        steps: Steps of the rise, from 1.
        then: What follows: a schedule, whose step 0 is step `steps` of this one, or None for `value`.
    """

    def __init__(self, value: float, steps: int, then: Any = None):
        self.value, self.steps, self.then = value, steps, then

    def __call__(self, step: Any) -> Any:
        """The value at a step, a float32 scalar."""
        step = tf.cast(step, tf.int64)
        value = tf.constant(self.value, tf.float32)
        rising = value * (tf.cast(step + 1, tf.float32) / self.steps)
        after = value if self.then is None else self.then(tf.maximum(step - self.steps, 0))
        return tf.where(step < self.steps, rising, after)

    def get_config(self) -> dict[str, Any]:
        """The arguments as plain values."""
        then = None if self.then is None else tf.keras.optimizers.schedules.serialize(self.then)
        return {"value": self.value, "steps": self.steps, "then": then}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make a schedule from what `get_config` returned."""
        then = config["then"]
        return cls(**{**config, "then": then and tf.keras.optimizers.schedules.deserialize(then)})
