"""Swap max pool and batch norm, so that the pool compares packed signs instead of floats."""

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


def normalise_before_pooling(network: Model) -> tuple[Model, list[str]]:
    """Swap convolution, max pool, batch norm, sign into convolution, batch norm, max pool, sign.

    An increasing function of a maximum is the maximum of the function, rounding included. The batch norm then
    disappears into the convolution, and the converter moves the sign before the pool unless a flatten separates them.

    Returns:
        The new network, and the names of the pools.
    """
    consumers = Consumers(network)

    def swap(node: Node, new_tensor: NewTensor) -> tuple[str, KerasTensor] | None:
        pool = _pool_before(node, consumers)
        if pool is None:
            return None
        return pool.layer.name, pool.layer(node.layer(new_tensor(pool.keras_inputs[0])))

    return rebuild_noting(network, swap)


def _pool_before(node: Node, consumers: Consumers) -> Node | None:
    """The max pool that a batch norm can change places with; None where it cannot, or where nothing is won."""
    keras = import_tensorflow().keras.layers
    if not behaves_as(node.layer, keras.BatchNormalization) or asks_for_training(node):
        return None
    pool = producer(node.keras_inputs[0])
    is_pool = behaves_as(pool.layer, keras.MaxPooling2D) and pool.layer.data_format == "channels_last"
    if not (is_pool and consumers.is_single(pool.outputs) and _is_increasing(node.layer)):
        return None
    into_convolution = _is_linear_convolution(producer(pool.keras_inputs[0]).layer)
    if not (into_convolution and consumers.is_single(pool.keras_inputs[0])):
        return None
    return pool if all(_ends_in_sign(each, consumers) for each in consumers.of(node.outputs)) else None


def _is_increasing(norm: Layer) -> bool:
    """Whether a batch norm over the channels of a picture never decreases."""
    return list(norm.axis) == [3] and (norm.gamma is None or bool(np.all(norm.gamma.numpy() >= 0)))


def _is_linear_convolution(layer: Layer) -> bool:
    """Whether a layer is a convolution that a batch norm after it can be folded into."""
    tf = import_tensorflow()
    return isinstance(layer, tf.keras.layers.Conv2D) and layer.activation in (None, tf.keras.activations.linear)


def _ends_in_sign(node: Node | None, consumers: Consumers) -> bool:
    """Whether a call takes signs only, perhaps after flattening."""
    keras = import_tensorflow().keras.layers
    if node is not None and behaves_as(node.layer, keras.Flatten):
        return all(binarizes_input(each) for each in consumers.of(node.outputs))
    return binarizes_input(node)
