"""The full-precision twin of a binary network: what a user would ship instead, to see what binarization buys.

The same layers with the same shapes, but real weights, and a ReLU behind each layer whose signs the binary network
takes: in ResNet it is part of the addition before it. Converted by TensorFlow Lite in float32, or in int8 with weights
and activations quantized; both take and answer float32, as the packed network does. Its weights are random: a twin is
timed and weighed, never asked for an answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow, quiet_stderr

CALIBRATION_PICTURES = 8
"""Random pictures whose activations set the ranges of the int8 twin."""

_QUANTIZER_SETTINGS = ("_quantizer", "_constraint", "pad_values")
"""How settings end that a full-precision layer does not have, or that only training looks at."""


def make_twin(model: Any) -> Any:
    """Replace quantized layers by full-precision ones of the same shape, and signs by ReLU.

    Args:
        model: A Keras model with larq's quantized layers.

    Returns:
        An untrained Keras model with the same inputs and outputs.

    Raises:
        BopkitError: It is no graph of layers, or holds networks as layers.
    """
    tf = import_tensorflow()
    import larq as lq

    _check_layers(model)
    plain = {getattr(lq.layers, f"Quant{name}"): getattr(tf.keras.layers, name) for name in _QUANTIZED}
    before_signs = {
        source.name
        for layer in model.layers
        if getattr(layer, "input_quantizer", None) is not None
        for node in layer.inbound_nodes
        for source in tf.nest.flatten(node.inbound_layers)
        if not isinstance(source, tf.keras.layers.InputLayer)
    }

    class WithRelu(tf.keras.layers.Layer):  # type: ignore[name-defined]
        """A layer and the ReLU behind it."""

        def __init__(self, layer: Any):
            super().__init__(name=f"{layer.name}_relu")
            self.layer = layer

        def call(self, inputs: Any) -> Any:
            return tf.nn.relu(self.layer(inputs))

    def replace(layer: Any) -> Any:
        if isinstance(layer, lq.quantizers.Quantizer):
            return tf.keras.layers.ReLU(name=layer.name)
        config = layer.get_config()
        kind = plain.get(type(layer), type(layer))
        if type(layer) in plain:
            config = {key: value for key, value in config.items() if not key.endswith(_QUANTIZER_SETTINGS)}
        twin = kind.from_config(config)
        return WithRelu(twin) if layer.name in before_signs else twin

    return tf.keras.models.clone_model(model, clone_function=replace)


_QUANTIZED = ("Conv2D", "Dense", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "Conv1D")
"""Keras layers of which larq has a quantized kind."""


def _check_layers(model: Any) -> None:
    """Refuse a network whose quantized layers `clone_model` would not show."""
    tf = import_tensorflow()
    is_graph = isinstance(model, tf.keras.Sequential) or getattr(model, "_is_graph_network", False)
    if not is_graph or any(isinstance(layer, tf.keras.Model) for layer in model.layers):
        raise BopkitError(
            f"The network {model.name} is not a flat graph of layers, so no twin can be made of it.",
            "Build it without networks inside networks.",
        )


def convert_twin(twin: Any, *, int8: bool) -> bytes:
    """Convert a twin with TensorFlow Lite.

    Args:
        twin: What `make_twin` returned.
        int8: Quantize weights and activations to int8; inputs and outputs stay float32.

    Returns:
        A flatbuffer for one picture at a time.
    """
    tf = import_tensorflow()
    shape = twin.input_shape[1:]
    function = tf.function(lambda images: twin(images, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((1, *shape), "float32"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], twin)
    if int8:
        rng = np.random.default_rng(0)

        def pictures() -> Iterator[list[np.ndarray]]:
            for _ in range(CALIBRATION_PICTURES):
                yield [rng.uniform(-1, 1, (1, *shape)).astype(np.float32)]

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = pictures
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with quiet_stderr():  # it prints what it quantizes, whatever its log level
        flatbuffer: bytes = converter.convert()
    return flatbuffer
