"""Batch norms over the rows of pictures, kept apart from the convolution before them."""

from __future__ import annotations

from typing import Any

from bopkit.keras2 import import_tensorflow

Layer = Any  # TensorFlow is imported inside the functions

_ROWS = 1
"""The axis that TensorFlow takes for the channels of a channels-first picture."""


def unfuse_norm_of_rows(layer: Layer) -> Layer:
    """Let a batch norm over axis 1 compute with plain arithmetic; returns the layer, whatever it is.

    Keras makes it a fused operation for channels-first pictures. In a graph, TensorFlow 2.21 joins that with a
    channels-last convolution without a bias before it, and then takes the constants of the rows for those of the
    channels: the network answers otherwise than layer by layer, in `predict` and in every server.

    Args:
        layer: Any layer, built or not.
    """
    keras = import_tensorflow().keras.layers
    if isinstance(layer, keras.BatchNormalization) and layer.axis in (_ROWS, [_ROWS]):
        layer.fused = False
    return layer


def unfuse_norms_of_rows(network: Any) -> Any:
    """`unfuse_norm_of_rows` of every layer of a network, which is returned."""
    for layer in network._flatten_layers(include_self=False):
        unfuse_norm_of_rows(layer)
    return network
