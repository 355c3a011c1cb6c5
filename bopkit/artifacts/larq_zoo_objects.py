"""What Larq Zoo's files name, written from what it means; Keras knows it once this is imported.

Imports TensorFlow: it is itself imported inside functions only.
"""

from __future__ import annotations

import math
from typing import Any

import larq
import numpy as np
import tensorflow as tf

Tensor = Any


@larq.utils.set_precision(1)
def xnor_weight_scale(kernel: Tensor) -> Tensor:
    """Sign of a kernel times the mean magnitude of each of its filters, after a clip to -1 to 1.

    Source: XNOR-Net, Rastegari et al. 2016, arXiv 1603.05279, section 3.1.

    Args:
        kernel: float [height, width, channels, filters].
    """
    clipped = tf.clip_by_value(kernel, -1.0, 1.0)
    magnitude = tf.reduce_mean(tf.abs(clipped), axis=[0, 1, 2], keepdims=True)
    return magnitude * larq.quantizers.ste_sign(clipped)


@larq.utils.set_precision(1)
def magnitude_aware_sign_unclipped(kernel: Tensor) -> Tensor:
    """Sign of a kernel times the mean magnitude of the whole kernel; the gradient passes as it is.

    Source: DoReFa-Net, Zhou et al. 2016, arXiv 1606.06160, section 2.2.
    """
    magnitude = tf.reduce_mean(tf.abs(kernel))

    @tf.custom_gradient
    def scaled_sign(values: Tensor) -> Tensor:
        return magnitude * larq.math.sign(values), lambda gradient: gradient

    return scaled_sign(kernel)


def clip_by_value_activation(x: Tensor) -> Tensor:
    """Values below 0 as 0 and above 1 as 1, the range that DoReFa quantizes."""
    return tf.clip_by_value(x, 0.0, 1.0)


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


for _name, _object in {
    "AddToLastChannels": AddToLastChannels,
    "BlurPool": BlurPool,
    "blurpool_initializer": BlurPool,
    "clip_by_value_activation": clip_by_value_activation,
    "magnitude_aware_sign_unclipped": magnitude_aware_sign_unclipped,
    "xnor_weight_scale": xnor_weight_scale,
}.items():
    # A user's own of the name, or that of an imported Larq Zoo, stays.
    tf.keras.utils.get_custom_objects().setdefault(_name, _object)
