"""Keep LCE's converter from folding into a binary convolution what is no constant of each channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from bopkit.export.network.passes.keras_graph import Consumers, KerasTensor, Model, NewTensor, Node, rebuild
from bopkit.keras2 import import_tensorflow


def shield_convolutions(network: Model) -> Model:
    """Separate binary convolutions from arithmetic with constants of places.

    LCE's converter (0.16) folds a multiplication by a constant, or the addition of one, into the convolution before
    it without looking at the shape: a factor of each row becomes one of each channel, or a file that is none. It
    looks through no maximum.

    Args:
        network: A flat network, whose binary convolutions are those of `inference_layers`.
    """
    from bopkit.export.network.inference_layers import InferenceConv2D, Shield

    consumers = Consumers(network)

    def rewire(node: Node, new_tensor: NewTensor) -> KerasTensor | None:
        if not isinstance(node.layer, InferenceConv2D) or not _meets_constant_of_places(node.outputs, consumers):
            return None
        return Shield(name=f"{node.layer.name}_shield")(node.layer(new_tensor(node.keras_inputs[0])))

    return rebuild(network, rewire)


def _meets_constant_of_places(tensor: KerasTensor, consumers: Consumers) -> bool:
    """Whether something that is computed of a tensor, element by element, may combine it with such a constant."""
    for node in consumers.of(tensor):
        if node is None or _ends_arithmetic(node):
            continue
        if not _is_same_for_all_places(node) or _meets_constant_of_places(node.outputs, consumers):
            return True
    return False


def _ends_arithmetic(node: Node) -> bool:
    """Whether a call is nothing that could be folded: it moves, sums or compares values, or combines two tensors."""
    tf = import_tensorflow()
    import larq

    keras: Any = tf.keras.layers
    return isinstance(
        node.layer,
        (
            *(keras.Conv1D, keras.Conv2D, keras.DepthwiseConv2D, keras.Dense, keras.Flatten, keras.Reshape),
            *(keras.Permute, keras.MaxPooling2D, keras.AveragePooling2D, keras.GlobalMaxPooling2D),
            *(keras.GlobalAveragePooling2D, keras.ZeroPadding2D, keras.Cropping2D, keras.UpSampling2D),
            *(keras.Concatenate, keras.Add, keras.Subtract, keras.Multiply, keras.Average, keras.Maximum),
            *(larq.quantizers.SteSign, larq.quantizers.ApproxSign, larq.quantizers.SwishSign),
        ),
    )


def _is_same_for_all_places(node: Node) -> bool:
    """Whether a call does the same with every place of a map, [n, height, width, channels]."""
    from bopkit.export.network.inference_layers import Threshold

    tf = import_tensorflow()
    keras: Any = tf.keras.layers
    layer = node.layer
    if isinstance(layer, keras.BatchNormalization):
        return list(layer.axis) == [3]
    if type(layer).__name__ == "TFOpLambda":
        arguments = (*node.call_args, *node.call_kwargs.values())
        # Constants are tensors, or nested lists in a network that was loaded.
        constants = [each for each in arguments if not any(map(_is_computed, tf.nest.flatten(each)))]
        return all(np.prod(np.shape(each)[:-1], dtype=int) == 1 for each in constants)
    plain = (keras.Activation, keras.ReLU, keras.LeakyReLU, keras.ELU, keras.Softmax, keras.Dropout, Threshold)
    return isinstance(layer, plain)


def _is_computed(value: Any) -> bool:
    return hasattr(value, "_keras_history")
