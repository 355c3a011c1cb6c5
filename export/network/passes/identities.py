"""Layers that pass their input on where nothing is trained are taken out."""

from __future__ import annotations

from typing import Any

from bopkit.export.network.layers import behaves_as
from bopkit.export.network.passes.keras_graph import (
    KerasTensor,
    Layer,
    Model,
    NewTensor,
    Node,
    asks_for_training,
    rebuild_noting,
)
from bopkit.keras2 import import_tensorflow


def remove_identities(network: Model) -> tuple[Model, list[str]]:
    """Take out dropout, noise and linear activations; the new network, and the names of those layers."""

    def remove(node: Node, new_tensor: NewTensor) -> tuple[str, KerasTensor] | None:
        if not is_identity(node.layer) or asks_for_training(node):  # dropout that is asked for drops
            return None
        return node.layer.name, new_tensor(node.keras_inputs[0])

    return rebuild_noting(network, remove)


def is_identity(layer: Layer) -> bool:
    """Whether the output of a layer is its input, except while it is trained."""
    tf = import_tensorflow()
    keras: Any = tf.keras.layers
    training_only = (
        keras.Dropout,
        keras.SpatialDropout1D,
        keras.SpatialDropout2D,
        keras.SpatialDropout3D,
        keras.AlphaDropout,
        keras.GaussianDropout,
        keras.GaussianNoise,
        keras.ActivityRegularization,
    )
    if behaves_as(layer, *training_only):
        return True
    return behaves_as(layer, keras.Activation) and layer.activation is tf.keras.activations.linear
