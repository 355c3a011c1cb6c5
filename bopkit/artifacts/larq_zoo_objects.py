"""What Larq Zoo's files name, written from what it means; Keras knows it once this is imported.

Imports TensorFlow: it is itself imported inside functions only.
"""

from __future__ import annotations

from typing import Any

import larq
import tensorflow as tf

from bopkit.layers import BlurPool

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


for _name, _object in {
    "blurpool_initializer": BlurPool,
    "clip_by_value_activation": clip_by_value_activation,
    "magnitude_aware_sign_unclipped": magnitude_aware_sign_unclipped,
    "xnor_weight_scale": xnor_weight_scale,
}.items():
    # A user's own of the name, or that of an imported Larq Zoo, stays.
    tf.keras.utils.get_custom_objects().setdefault(_name, _object)
