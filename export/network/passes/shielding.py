"""Keep LCE's converter from folding into a binary convolution what its kernels would compute wrongly there."""

from __future__ import annotations

from typing import Any

import numpy as np

from bopkit.export.network.layers import is_sign, keeps_values
from bopkit.export.network.passes.keras_graph import (
    Consumers,
    KerasTensor,
    Model,
    NewTensor,
    Node,
    binarizes_input,
    rebuild,
)
from bopkit.keras2 import import_tensorflow


def shield_convolutions(network: Model) -> Model:
    """Separate binary convolutions from arithmetic with constants of places, and from factors before a sign.

    LCE's converter (0.16) folds a multiplication by a constant, or the addition of one, into the convolution before
    it without looking at the shape: a factor of each row becomes one of each channel, or a file that is none. And its
    kernels round what they multiply inside, so that a sum of signs that is exactly 0, as many are, has any sign. It
    looks through no maximum.

    Args:
        network: A flat network, whose binary convolutions are those of `inference_layers`.
    """
    from bopkit.export.network.inference_layers import InferenceConv2D, Shield

    consumers = Consumers(network)
    shields: dict[str, Any] = {}  # one for all calls of a layer, as names are unique

    def rewire(node: Node, new_tensor: NewTensor) -> KerasTensor | None:
        if not isinstance(node.layer, InferenceConv2D):
            return None
        is_sum = not node.layer.use_bias and _is_linear(node.layer)
        meets_factor = is_sum and _meets_factor_before_sign(node.outputs, consumers)
        if not meets_factor and not _meets_constant_of_places(node.outputs, consumers):
            return None
        name = f"{node.layer.name}_shield"
        shield = shields.setdefault(name, Shield(name=name))
        return shield(node.layer(new_tensor(node.keras_inputs[0])))

    return rebuild(network, rewire)


def _is_linear(layer: Any) -> bool:
    return layer.activation in (None, import_tensorflow().keras.activations.linear)


def _meets_factor_before_sign(tensor: KerasTensor, consumers: Consumers) -> bool:
    """Whether a tensor is multiplied by constants, and a sign is taken of the product."""
    return any(
        node is not None and _is_factor(node) and _ends_in_sign(node.outputs, consumers)
        for node in consumers.of(tensor)
    )


def _is_factor(node: Node) -> bool:
    return getattr(node.layer, "symbol", None) in _FACTORS and len(node.keras_inputs) == 1


def _ends_in_sign(tensor: KerasTensor, consumers: Consumers) -> bool:
    """Whether a sign is taken of a tensor, perhaps after its values were moved."""
    for node in consumers.of(tensor):
        if node is None:
            continue
        if is_sign(node.layer) or binarizes_input(node):
            return True
        if (keeps_values(node.layer) or _is_factor(node)) and _ends_in_sign(node.outputs, consumers):
            return True
    return False


_FACTORS = ("math.multiply", "math.truediv", "math.divide", "math.negative")
"""What Keras calls the operations that leave 0 as it is."""


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
