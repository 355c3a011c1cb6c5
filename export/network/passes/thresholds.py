"""A batch norm of which only the signs are used becomes one subtraction."""

from __future__ import annotations

import numpy as np

from bopkit.export.network.layers import behaves_as
from bopkit.export.network.passes.keras_graph import (
    Consumers,
    KerasTensor,
    Layer,
    Model,
    NewTensor,
    Node,
    asks_for_training,
    binarizes_input,
    producer,
    rebuild_noting,
)
from bopkit.keras2 import import_tensorflow


def norms_to_thresholds(network: Model) -> tuple[Model, list[str]]:
    """Replace increasing batch norms before signs by the subtraction of the value at which the sign changes.

    Those after a convolution or a dense layer stay: the converter folds them into it.

    Returns:
        The new network, and the names of the batch norms.
    """
    from bopkit.export.network.inference_layers import Threshold

    consumers = Consumers(network)
    made: dict[str, Layer] = {}  # one for all calls of a batch norm, as names are unique

    def replace(node: Node, new_tensor: NewTensor) -> tuple[str, KerasTensor] | None:
        threshold = _threshold(node, consumers)
        if threshold is None:
            return None
        name = node.layer.name
        layer = made.setdefault(name, Threshold(threshold, name=f"{name}_threshold"))
        return name, layer(new_tensor(node.keras_inputs[0]))

    return rebuild_noting(network, replace)


def _threshold(node: Node, consumers: Consumers) -> np.ndarray | None:
    """The threshold of each channel, float32 [channels]; None where the batch norm stays."""
    keras = import_tensorflow().keras.layers
    norm = node.layer
    if not behaves_as(norm, keras.BatchNormalization) or asks_for_training(node):
        return None
    if isinstance(producer(node.keras_inputs[0]).layer, (keras.Conv2D, keras.Dense)):
        return None
    rank = len(node.keras_inputs[0].shape)
    if list(norm.axis) != [rank - 1] or not all(binarizes_input(each) for each in consumers.of(node.outputs)):
        return None
    if norm.gamma is not None and not np.all(norm.gamma.numpy() > 0):
        return None
    threshold = least_input_without_negative_output(norm, rank)
    return threshold if np.all(np.isfinite(threshold)) else None


def least_input_without_negative_output(norm: Layer, rank: int) -> np.ndarray:
    """The smallest float32 of each channel for which an increasing batch norm answers no negative number.

    Found by bisection over all floats with the layer itself, so that its rounding is part of the result.

    Args:
        norm: A batch norm over the last axis, with a positive scale.
        rank: Number of dimensions of its input.

    Returns:
        float32 [channels]; infinite where a channel has one sign throughout.
    """
    channels = int(norm.moving_mean.shape[0])
    largest = _float_to_order(np.full(channels, np.inf, np.float32))
    low, high = -largest, largest  # the answer lies in low..high
    while np.any(low < high):
        middle = (low + high) // 2
        inputs = _order_to_float(middle).reshape((1,) * (rank - 1) + (channels,))
        negative = norm(inputs, training=False).numpy().reshape(channels) < 0
        low, high = np.where(negative, middle + 1, low), np.where(negative, high, middle)
    return _order_to_float(low)


def _float_to_order(values: np.ndarray) -> np.ndarray:
    """Place of float32 values among all floats, int64; -0 and 0 share place 0."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _order_to_float(order: np.ndarray) -> np.ndarray:
    bits = np.where(order < 0, -order | 0x80000000, order).astype(np.uint32)
    return bits.view(np.float32)
