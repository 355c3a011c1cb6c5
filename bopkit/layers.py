"""Layers of networks that stock Keras lacks; Keras knows them once this is imported.

Imports TensorFlow: it is itself imported inside functions only.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any


class ChannelShift(tf.keras.layers.Layer):
    """Adds a trained value to each channel: what is left of RSign and of RPReLU beside a sign and a PReLU.

    Source: ReActNet, Liu et al. 2020, arXiv 2003.03488, section 4.2.
    """

    def build(self, input_shape: Any) -> None:
        """Make the values, float32 [c], from zero."""
        self.shift = self.add_weight(name="shift", shape=(input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """float32 [n, h, w, c] to the same shape."""
        return inputs + self.shift


tf.keras.utils.get_custom_objects().setdefault("ChannelShift", ChannelShift)
