"""Layers of networks that stock Keras lacks; Keras knows them once this is imported.

Imports TensorFlow: it is itself imported inside functions only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any


class ChannelShift(tf.keras.layers.Layer):
    """Adds a trained value to each channel; in front of a sign, the two are RSign.

    Source: ReActNet, Liu et al. 2020, arXiv 2003.03488, section 4.2.
    """

    def build(self, input_shape: Any) -> None:
        """Make the values, [c], from zero."""
        self.shift = self.add_weight(name="shift", shape=(input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """[n, height, width, c] to the same shape."""
        return inputs + self.shift


class RPReLU(tf.keras.layers.PReLU):
    """PReLU with a slope a channel, shifted by trained values of each channel in front and behind.

    Source: ReActNet, Liu et al. 2020, arXiv 2003.03488, section 4.2. The slopes begin at 0.25, as PyTorch's do.

    Args:
        kwargs: Those of Keras' PReLU; slopes are shared over height and width unless they say otherwise.
    """

    def __init__(self, **kwargs: Any):
        slope = tf.keras.initializers.Constant(0.25)
        super().__init__(**{"alpha_initializer": slope, "shared_axes": (1, 2), **kwargs})

    def build(self, input_shape: Any) -> None:
        """Make slopes, [1, 1, c], and shifts, [c] each, from zero."""
        channels = (input_shape[-1],)
        self.shift_before = self.add_weight(name="shift_before", shape=channels, initializer="zeros")
        super().build(input_shape)
        self.shift_behind = self.add_weight(name="shift_behind", shape=channels, initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        """[n, height, width, c] to the same shape."""
        return super().call(inputs + self.shift_before) + self.shift_behind


class AddToLastChannels(tf.keras.layers.Layer):
    """Adds the second input, of fewer channels, onto the last ones of the first.

    Source: the improvement block of MeliusNet, Bethge et al. 2020, arXiv 2001.05936, section 3.1.

    Args:
        first_channel: Where the second input begins.
        kwargs: Those of every layer.
    """

    def __init__(self, first_channel: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.first_channel = first_channel

    def call(self, inputs: list[Tensor]) -> Tensor:
        """The sum of [n, height, width, c] and [n, height, width, c - first_channel], of the shape of the first."""
        features, improvement = inputs
        return features + tf.pad(improvement, [[0, 0], [0, 0], [0, 0], [self.first_channel, 0]])

    def get_config(self) -> dict[str, Any]:
        """What the layer is made of again."""
        return {**super().get_config(), "first_channel": self.first_channel}


class BlurPool(tf.keras.initializers.Initializer):
    """A kernel that blurs each channel alike: rows of binomial coefficients, in both directions, that sum to 1.

    Source: Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", arXiv 1904.11486, section 4.
    """

    def __call__(self, shape: tuple[int, ...], dtype: Any = None, **kwargs: Any) -> Tensor:
        """The kernel, of shape [size, size, channels, outputs of each channel]; float32 unless a type is given."""
        size = shape[0]
        row = np.array([math.comb(size - 1, place) for place in range(size)])
        blur = np.outer(row, row) / row.sum() ** 2
        return tf.cast(tf.broadcast_to(blur[:, :, np.newaxis, np.newaxis], shape), dtype or tf.float32)


for _class in (AddToLastChannels, BlurPool, ChannelShift, RPReLU):
    # A user's own of the name, or that of an imported Larq Zoo, stays.
    tf.keras.utils.get_custom_objects().setdefault(_class.__name__, _class)
