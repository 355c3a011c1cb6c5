"""Parts that several networks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bopkit.keras2 import import_tensorflow

INITIALIZER = "glorot_normal"


def halving_shortcut(x: Any, filters: int, normalise: Callable[[Any, str], Any], name: str) -> Any:
    """Halve the picture by averaging and widen it with a real 1x1 convolution and batch norm.

    Args:
        x: float32 [n, h, w, c].
        filters: Channels of the result, float32 [n, ceil(h / 2), ceil(w / 2), filters].
        normalise: The network's batch norm, by its input and name.
        name: What the names of the layers begin with.
    """
    layers = import_tensorflow().keras.layers
    x = layers.AvgPool2D(2, strides=2, padding="same", name=f"{name}_shortcut_pool")(x)
    x = layers.Conv2D(filters, 1, use_bias=False, kernel_initializer=INITIALIZER, name=f"{name}_shortcut_conv")(x)
    return normalise(x, f"{name}_shortcut_bn")


def classifier(images: Any, x: Any, classes: int, name: str, initializer: str = INITIALIZER) -> Any:
    """The network from its input to the probabilities: mean over positions, real dense layer, softmax.

    Args:
        images: The input.
        x: The last feature maps, float32 [n, h, w, c].
        classes: Number of outputs.
        name: Of the network.
        initializer: Of the dense layer.
    """
    tf = import_tensorflow()
    layers = tf.keras.layers
    x = layers.GlobalAvgPool2D(name="pool")(x)
    x = layers.Dense(classes, kernel_initializer=initializer, name="logits")(x)
    return tf.keras.Model(images, layers.Softmax(name="probabilities")(x), name=name)
